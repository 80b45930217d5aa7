"""Classes that are hardly told apart: two names for one thing."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

LEAST = 10
"""Images of a class."""
HARDLY = 0.35
"""Of the images of two classes that are taken for one, taken for the wrong one; half by chance."""
_MOSTLY = 0.5


def find_twins(answers: NDArray[np.int64], labels: NDArray[np.int64]) -> list[tuple[int, int, float]]:
    """``answers``: the class that a classifier says of each image, int (n,), learned from others.

    Returns pairs of classes with the share that is taken for the wrong one, the hardest to tell apart first.
    Each must be taken for the other one: a class that is overlooked is no twin.
    """
    found = []
    for first, second in combinations(np.unique(labels).tolist(), 2):
        pair = np.array(
            [[(answers[labels == a] == b).sum() for b in (first, second)] for a in (first, second)]
        )
        sizes = np.array([(labels == each).sum() for each in (first, second)])
        if sizes.min() < LEAST or (pair.sum(axis=1) < _MOSTLY * sizes).any():
            continue
        wrong = np.array([pair[0, 1], pair[1, 0]]) / pair.sum(axis=1)
        share = float(wrong.mean())
        if share >= HARDLY and wrong.min() >= HARDLY / 2:
            found.append((first, second, share))
    return sorted(found, key=lambda each: -each[2])
