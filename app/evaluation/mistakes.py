"""The images that were answered wrongly, the most confident first: where to look for wrong labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.evaluation.metrics import decide
from app.evaluation.spec import Mistake


def list_mistakes(
    items: Sequence[tuple[str, str]],
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.float32],
    classes: Sequence[str],
) -> list[Mistake]:
    """Every wrong answer, by falling probability, then in the order of ``items``, which are (id, name)."""
    predicted, confidence = decide(probabilities), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    ordered = wrong[np.argsort(-confidence[wrong], kind="stable")].tolist()
    return [
        Mistake(
            item=items[index][0],
            name=items[index][1],
            true=classes[labels[index]],
            predicted=classes[predicted[index]],
            probability=float(confidence[index]),
        )
        for index in ordered
    ]
