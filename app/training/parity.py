"""How far one model's answers may be from another's that is to be the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from app.errors import ParityError
from app.training.result import Parity

Array = np.ndarray[Any, Any]
MAX_PROBABILITY_DIFFERENCE = 1e-3
TIE = 1e-4
"""Two classes this close in probability may change places: rounding decides between them."""


def measure_parity(
    answers: Array, expected: Array, names: Sequence[str], *, images: str, model: str, hint: str
) -> Parity:
    """Compares probabilities, both (n, classes), for the images of these ``names``. Raises ParityError.

    Labels must agree except where two classes are expected within ``TIE``. ``images`` and ``model`` are how
    the message speaks of them.
    """
    difference = np.abs(answers - expected)
    predicted = answers.argmax(axis=1)
    rows = np.arange(len(expected))
    has_other_label = predicted != expected.argmax(axis=1)
    is_wrong = expected.max(axis=1) - expected[rows, predicted] >= TIE
    is_off = ~(difference.max(axis=1) <= MAX_PROBABILITY_DIFFERENCE)
    bad = np.flatnonzero(is_wrong | is_off)
    if bad.size:
        raise ParityError(
            f"{bad.size} of {len(rows)} {images} get another answer from {model}, {names[bad[0]]} first; "
            f"probabilities differ by up to {difference.max():.2g}.",
            hint=hint,
        )
    return Parity(
        items=len(rows),
        labels_equal=int(len(rows) - np.count_nonzero(has_other_label)),
        max_probability_difference=float(difference.max()),
    )
