"""Pairs of images that are near each other in some way: by row, at most so many of each, nearest first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

_STRETCH = 64
UNKNOWN = -1
"""A flip that nothing is known of."""


@dataclass(frozen=True)
class Neighbours:
    """``second`` is the neighbour number ``rank`` of ``first`` mirrored by ``flip``."""

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
    rows: NDArray[np.intp],
    most: int,
    least: float = 0.0,
) -> Neighbours:
    """Of a block (rows, images) that says how alike they are; ``rows``: the images that its rows are.

    Only what is more alike than ``least`` counts. ``alike`` is changed.
    """
    alike[np.arange(len(rows)), rows] = -np.inf
    nearest = _most_alike(alike, min(most, alike.shape[1]))
    values = np.take_along_axis(alike, nearest, 1)
    order = np.argsort(-values, axis=1, kind="stable")
    nearest, values = np.take_along_axis(nearest, order, 1), np.take_along_axis(values, order, 1)
    row, rank = np.nonzero(values > least)
    second = nearest[row, rank]
    return Neighbours(
        rows[row].astype(np.int32),
        second.astype(np.int32),
        np.broadcast_to(flips, alike.shape)[row, second].astype(np.int8),
        rank.astype(np.int8),
    )


def nearest_of_sparse_rows(by_flip: Sequence[csr_matrix], start: int, most: int) -> Neighbours:
    """The same for the images from ``start`` on, from few values that are not zero.

    ``by_flip``: float32 (rows, images), how alike they are if the row's image is mirrored by each flip.
    """
    enough = len(by_flip) * (most + 1)  # Each image may be there once for each flip, and the row's own too.
    found = []
    for row in range(by_flip[0].shape[0]):
        places = [slice(*flip.indptr[row : row + 2]) for flip in by_flip]
        images = np.concatenate([flip.indices[at] for flip, at in zip(by_flip, places, strict=True)])
        alike = np.concatenate([flip.data[at] for flip, at in zip(by_flip, places, strict=True)])
        flips = np.repeat(np.arange(len(by_flip), dtype=np.int8), [at.stop - at.start for at in places])
        best = np.argpartition(-alike, enough)[:enough] if len(alike) > enough else np.arange(len(alike))
        best = best[np.lexsort((flips[best], -alike[best]))]
        best = best[images[best] != start + row]
        best = best[np.sort(np.unique(images[best], return_index=True)[1])[:most]]
        found.append(
            Neighbours(
                np.full(len(best), start + row, np.int32),
                images[best].astype(np.int32),
                flips[best],
                np.arange(len(best), dtype=np.int8),
            )
        )
    return Neighbours.join(found)


def _most_alike(alike: NDArray[np.float32], most: int) -> NDArray[np.intp]:
    """The columns of the ``most`` largest values of each row: they lie in as many stretches of columns."""
    rows, columns = alike.shape
    whole = columns // _STRETCH
    if whole <= most:
        return np.argpartition(alike, columns - most, axis=1)[:, columns - most :]
    highest = alike[:, : whole * _STRETCH].reshape(rows, whole, _STRETCH).max(2)
    stretches = np.argpartition(highest, whole - most, axis=1)[:, whole - most :]
    inside = (stretches[:, :, None] * _STRETCH + np.arange(_STRETCH)).reshape(rows, -1)
    rest = np.broadcast_to(np.arange(whole * _STRETCH, columns), (rows, columns - whole * _STRETCH))
    looked_at = np.concatenate([inside, rest], axis=1)
    values = np.take_along_axis(alike, looked_at, 1)
    best = np.argpartition(values, values.shape[1] - most, axis=1)[:, values.shape[1] - most :]
    return np.take_along_axis(looked_at, best, 1)


def best_of_flips(by_flip: Iterable[NDArray[np.float32]]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """The largest value of each place, and which of the arrays has it. The first array is changed."""
    arrays = iter(by_flip)
    best = next(arrays)
    flips = np.zeros(best.shape, np.int8)
    for flip, values in enumerate(arrays, start=1):
        flips[values > best] = flip
        np.maximum(best, values, out=best)
    return best, flips
