"""Pairs of images that are near each other in some way: by row, at most so many of each, nearest first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

UNKNOWN = -1
"""A flip that nothing is known of."""


@dataclass(frozen=True)
class Neighbours:
    """``second`` is the neighbour number ``rank`` of ``first``, which is mirrored by ``flip`` beside it."""

    first: NDArray[np.int32]
    second: NDArray[np.int32]
    flip: NDArray[np.int8]
    rank: NDArray[np.int8]

    @staticmethod
    def join(parts: Sequence[Neighbours]) -> Neighbours:
        def of(name: str, kind: type) -> NDArray[Any]:
            return np.concatenate([np.empty(0, kind), *(getattr(part, name) for part in parts)])

        return Neighbours(
            of("first", np.int32), of("second", np.int32), of("flip", np.int8), of("rank", np.int8)
        )


def nearest_of_rows(
    alike: NDArray[np.float32],
    flips: NDArray[Any],
    start: int,
    most: int,
    least: float = 0.0,
) -> Neighbours:
    """Of a block (rows, images) that says how alike they are, its rows being images from ``start`` on.

    Only what is more alike than ``least`` counts. ``alike`` is changed.
    """
    rows = np.arange(len(alike))
    alike[rows, rows + start] = -np.inf
    most = min(most, alike.shape[1])
    nearest = np.argpartition(alike, alike.shape[1] - most, axis=1)[:, alike.shape[1] - most :]
    values = np.take_along_axis(alike, nearest, 1)
    order = np.argsort(-values, axis=1, kind="stable")
    nearest, values = np.take_along_axis(nearest, order, 1), np.take_along_axis(values, order, 1)
    row, rank = np.nonzero(values > least)
    second = nearest[row, rank]
    return Neighbours(
        (row + start).astype(np.int32),
        second.astype(np.int32),
        np.broadcast_to(flips, alike.shape)[row, second].astype(np.int8),
        rank.astype(np.int8),
    )
