"""From the answers to the validation split to the rule by which answers are accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from app.artifacts import Decision
from app.evaluation.thresholds import CONFIDENCE_LEVEL, fit_thresholds

LOST = 0.02
"""The share of a product's own images that may be taken for something else."""


def fit_decision(
    probabilities: NDArray[np.floating[Any]],
    labels: NDArray[np.integer[Any]],
    wholes: Sequence[str],
    similarities: NDArray[np.float32],
    *,
    split: str,
    tried: int,
) -> Decision:
    """The least similarity first, and by the images that reach it the thresholds of probability.

    ``probabilities``: (n, classes), as served; ``labels``: int (n,); ``similarities``: (n,), to the nearest
    training image; ``wholes`` and ``tried``: as of ``fit_thresholds``.
    """
    least = _least_similarity(similarities)
    known = np.flatnonzero(similarities >= least)
    is_right = probabilities.argmax(axis=1) == labels
    return Decision(
        confidence_level=CONFIDENCE_LEVEL,
        split=split,
        items=len(labels),
        tried=tried,
        thresholds=fit_thresholds(
            probabilities.max(axis=1).astype(np.float64)[known],
            is_right[known],
            [wholes[index] for index in known.tolist()],
            tried=tried,
        ),
        similarity=least,
        lost=1 - len(known) / len(labels),
    )


def _least_similarity(similarities: NDArray[np.float32]) -> float:
    """Halfway to the next lower one, so that rounding loses no image that is just as unlike as one kept.

    Of fewer images than one of which may be lost, the least says little: it is that of a normal distribution.
    """
    ranked = np.sort(similarities.astype(np.float64))
    lost = int(LOST * len(ranked))
    if lost:
        return float((ranked[lost - 1] + ranked[lost]) / 2)
    return float(min(ranked[0], ranked.mean() + ndtri(LOST) * ranked.std(ddof=min(1, len(ranked) - 1))))
