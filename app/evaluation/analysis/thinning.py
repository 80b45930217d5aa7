"""A curve of fewer points that looks the same."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def thin_curve(x: Floats, y: Floats, most: int) -> NDArray[np.intp]:
    """Which points to keep: at most ``most`` (2 and up), the first and the last among them, in order.

    They lie evenly along the curve, by the sum of its steps to the side and up. So a monotone curve within
    the unit square is nowhere farther from the kept one than 2 / (most - 2).
    """
    if len(x) <= most:
        return np.arange(len(x))
    lengths = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0, lengths[-1], most)
    kept = np.unique(np.searchsorted(lengths, wanted).clip(0, len(x) - 1))
    kept[0], kept[-1] = 0, len(x) - 1
    return kept
