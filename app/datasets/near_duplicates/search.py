"""Finds near-duplicates among sketches: candidates, a closer look at each, groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from threadpoolctl import threadpool_limits

from app.datasets.near_duplicates.candidates import Candidates, find_candidates
from app.datasets.near_duplicates.features import Vectors
from app.datasets.near_duplicates.groups import Pair, group_pairs
from app.datasets.near_duplicates.pixels import Places, compare_pixels, find_places, least_correlation
from app.datasets.near_duplicates.registration import register
from app.datasets.near_duplicates.sketches import Sketches, have_few_points

_AT_ONCE = 1000
_SURE_POINTS = 40
_PLACES_KEPT = 64

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class NearDuplicates:
    """What was found among ``images`` images.

    ``doubtful``: pairs that count, but did not join their two large groups. ``verified``: candidates that
    were looked at; ``left_out``: those beyond the most. ``with_few_points``: images that were compared pixel
    by pixel. ``used_features``: whether there were feature vectors.
    """

    images: int
    pairs: tuple[Pair, ...]
    groups: tuple[tuple[int, ...], ...]
    doubtful: tuple[Pair, ...]
    verified: int
    left_out: int
    with_few_points: int
    used_features: bool


def search_sketches(sketches: Sketches, features: Vectors | None, progress: Progress) -> NearDuplicates:
    """``features``: a row for each image, or None; then copies are found by points and hash alone.

    ``progress`` is called with the stage, what is done of it and its whole, and may raise to leave. Raises
    ValueError for feature vectors of other images.
    """
    number = len(sketches)
    if features is not None and len(features) != number:
        raise ValueError(f"{len(features)} feature vectors for {number} images")
    candidates = find_candidates(sketches, features, lambda stage, done: progress(stage, done, number))
    # Products of small matrices: threads of BLAS would wait for each other longer than they compute.
    with threadpool_limits(1):
        pairs = _verify(sketches, candidates, progress)
    grouping = group_pairs(pairs)
    return NearDuplicates(
        images=number,
        pairs=tuple(pairs),
        groups=grouping.groups,
        doubtful=grouping.doubtful,
        verified=len(candidates.pairs),
        left_out=candidates.left_out,
        with_few_points=int(have_few_points(sketches).sum()),
        used_features=features is not None,
    )


def _verify(sketches: Sketches, candidates: Candidates, progress: Progress) -> list[Pair]:
    has_few = have_few_points(sketches)
    least = least_correlation(sketches, np.flatnonzero(has_few))
    found, number = [], len(candidates.pairs)

    @lru_cache(_PLACES_KEPT)  # Pairs are in the order of their first images.
    def places(image: int) -> Places:
        return find_places(sketches[image]["thumbnail"])

    every = zip(*candidates.pairs.T.tolist(), candidates.flips.tolist(), strict=True)
    for done, (first, second, flip) in enumerate(every, 1):
        if has_few[first] or has_few[second]:
            alike = compare_pixels(places(first), places(second), flip)
            if alike.correlation >= least:
                score = alike.correlation
                found.append(Pair(first, second, "pixels", score, score, alike.flip))
        elif (pair := _by_points(sketches, first, second, flip)) is not None:
            found.append(pair)
        if done % _AT_ONCE == 0 or done == number:
            progress("pairs", done, number)
    return found


def _by_points(sketches: Sketches, first: int, second: int, flip: int) -> Pair | None:
    one, other = (sketches[image]["points"][: sketches[image]["number"]] for image in (first, second))
    placed = register(one, other, flip)
    if placed is None:
        return None
    score = placed.share * min(1.0, placed.points / _SURE_POINTS)
    return Pair(first, second, "points", score, placed.points, placed.flip, placed.cover)
