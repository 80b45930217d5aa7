"""Which pairs of images are worth a closer look. All neighbours are exact, a block of images at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.datasets.near_duplicates.features import Vectors, nearest_by_features
from app.datasets.near_duplicates.flips import BACK
from app.datasets.near_duplicates.hashes import BITS, flips_of_hashes, order_of_hashes, unpack_hashes
from app.datasets.near_duplicates.neighbours import UNKNOWN, Neighbours, best_of_flips, nearest_of_rows
from app.datasets.near_duplicates.sketches import Sketches, have_few_points
from app.datasets.near_duplicates.words import nearest_by_words

BY_WORDS, BY_HASH, BY_FEATURES = 8, 2, 2
"""Neighbours of each image."""
MOST_PAIRS = 200_000
"""In a dataset that has more, the first neighbours of all images go before the second ones."""
_MOST_BITS_APART = 80
_USUAL_NEIGHBOUR = 10
_SHARE_OF_USUAL = 0.7
_SAMPLED = 100
_BLOCK = 64

Progress = Callable[[str, int], None]


@dataclass(frozen=True)
class Candidates:
    """``pairs``: int32 (n, 2), the lower number first. ``flips``: of the second, int8 (n,), or UNKNOWN.

    ``left_out``: the number of pairs beyond the most.
    """

    pairs: NDArray[np.int32]
    flips: NDArray[np.int8]
    left_out: int


def find_candidates(sketches: Sketches, features: Vectors | None, progress: Progress) -> Candidates:
    """``progress`` is called with a word for the stage and the images done, and may raise to leave."""
    found = [
        nearest_by_words(sketches, BY_WORDS, lambda done: progress("words", done)),
        # Where there are points, words find all that hashes find.
        nearest_by_hash(
            sketches["hash"],
            np.flatnonzero(have_few_points(sketches)),
            BY_HASH,
            lambda done: progress("hashes", done),
        ),
    ]
    if features is not None:
        found.append(nearest_by_features(features, BY_FEATURES, lambda done: progress("features", done)))
    return merge(Neighbours.join(found))


def nearest_by_hash(
    hashes: NDArray[np.uint8], asked: NDArray[np.intp], most: int, progress: Callable[[int], None]
) -> Neighbours:
    """Of the images ``asked``: at most 80 of 256 bits apart, and clearly closer than tenth neighbours are."""
    signs = unpack_hashes(np.ascontiguousarray(hashes)).astype(np.float32)
    flips, orders = np.split(flips_of_hashes(), 2)[0], np.split(order_of_hashes(), 2)
    # Bits that every flip turns alike are compared once: four products of 64 bits instead of four of 256.
    parts = [np.flatnonzero((flips == column[:, None]).all(0)) for column in np.unique(flips, axis=1).T]
    turned = np.array([flips[:, part[0]] for part in parts], np.float32)
    split = [np.ascontiguousarray(signs[:, part]) for part in parts]

    def compare(rows: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
        by_flip: list[NDArray[np.float32]] = []
        for order, *_ in orders:  # as they are, and transposed
            asked = signs[rows][:, order]
            products = np.stack([asked[:, at] @ part.T for at, part in zip(parts, split, strict=True)])
            by_flip.extend(np.tensordot(turned.T, products, 1))
        return best_of_flips(by_flip)

    most_apart = float(_MOST_BITS_APART)
    if len(signs) > _USUAL_NEIGHBOUR and len(asked):
        sample = np.random.default_rng(0).permutation(asked)[:_SAMPLED]
        apart = (BITS - compare(sample)[0]) / 2
        usual = np.partition(apart, _USUAL_NEIGHBOUR, axis=1)[:, _USUAL_NEIGHBOUR]
        most_apart = min(most_apart, _SHARE_OF_USUAL * float(np.median(usual)))
    least = BITS - 2 * most_apart - 1
    found = []
    for start in range(0, len(asked), _BLOCK):
        rows = asked[start : start + _BLOCK]
        alike, turns = compare(rows)
        found.append(nearest_of_rows(alike, turns, rows, most, least))
        progress(start + len(rows))
    return Neighbours.join(found)


def merge(found: Neighbours) -> Candidates:
    """Each pair once, by its best rank; a flip that is known goes before one that is not."""
    low, high = np.minimum(found.first, found.second), np.maximum(found.first, found.second)
    order = np.lexsort((found.rank, found.flip == UNKNOWN, high, low))
    is_back = (found.first == low) & (found.flip != UNKNOWN)
    of_high = np.where(is_back, BACK[found.flip], found.flip)
    pairs, flips = np.stack([low, high], 1)[order], of_high[order]
    is_new = np.ones(len(pairs), bool)
    is_new[1:] = (pairs[1:] != pairs[:-1]).any(1)
    ranks = np.minimum.reduceat(found.rank[order], np.flatnonzero(is_new)) if len(pairs) else found.rank
    pairs, flips = pairs[is_new], flips[is_new]
    kept = np.sort(np.argsort(ranks, kind="stable")[:MOST_PAIRS])
    return Candidates(pairs[kept], flips[kept], len(pairs) - len(kept))
