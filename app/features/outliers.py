"""Which images look like no other of their class: those whose nearest of it is far."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST = 5
"""Images of a class, of as many groups: with fewer, nothing can be said of it."""
_BLOCK = 512
_FAR = 3.0
"""An image is far if its nearest is less alike than that of others by so many interquartile ranges."""


@dataclass(frozen=True)
class Outlier:
    """Row ``index``: the cosine to the nearest image of its class, of other groups, is ``similarity``."""

    index: int
    similarity: float


def find_outliers(
    vectors: NDArray[np.float16],
    labels: NDArray[np.int64],
    keys: NDArray[np.int64],
    alive: Callable[[], None],
) -> tuple[Outlier, ...]:
    """The worst first. ``vectors``: float16 (n, dimensions); ``labels`` and ``keys``: int (n,)."""
    nearest = np.full(len(labels), np.nan)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(np.unique(keys[members])) < LEAST:
            continue
        units = np.asarray(vectors[members], np.float32)
        units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
        for start in range(0, len(members), _BLOCK):
            block = slice(start, start + _BLOCK)
            cosines = units[block] @ units.T
            cosines[keys[members[block], np.newaxis] == keys[members]] = -1
            nearest[members[block]] = cosines.max(axis=1)
            alive()
    known = nearest[~np.isnan(nearest)]
    if len(known) < 4 * LEAST:
        return ()
    low, high = np.quantile(known, [0.25, 0.75])
    limit = low - _FAR * (high - low)
    far = np.flatnonzero(nearest < limit)
    return tuple(Outlier(int(index), float(nearest[index])) for index in far[np.argsort(nearest[far])])
