"""Whether one image lies on another: points that look alike vote for a place, and most must agree on it.

Each match alone says where the other image would lie, since it has a place and a size. The place that most
others agree with is refined to an affine map, as in M. Fischler and R. Bolles, "Random Sample Consensus"
(1981), https://doi.org/10.1145/358669.358692, but every match is tried instead of random ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.datasets.near_duplicates.flips import FLIPS
from app.datasets.near_duplicates.keypoints import STEP, Keypoints, flip_keypoints
from app.datasets.near_duplicates.neighbours import UNKNOWN

Floats = NDArray[np.float32]
LEAST_POINTS = 18
"""That agree. Strangers seldom have so many, and then they are few of their matches."""
_LEAST_SHARE = 0.4
"""Of the matches that lie where the two images overlap."""
_LEAST_BOTH = 11
"""The product of the two."""
_LEAST_ALIKE = 0.7
_TOLERANCE = 0.02
"""In shares of the sides."""
_TOLERANCE_BY_DISTANCE = 0.07
"""A match knows its size to a step of the pyramid alone."""
_SCALES = (0.5, 2.0)
_MOST_STRETCH = 1.4
_MOST_TURN = 0.27
"""Sine of 15 degrees; patches of images that are turned further look different anyway."""
_FEWEST = LEAST_POINTS // 2
"""Matches that agree before the map is refined: strangers seldom have so many."""


_CELLS = 6
"""Along a side, when it is asked how much of the images agrees."""


@dataclass(frozen=True)
class Registration:
    """``points``: that agree. ``share``: of the matches that could. ``scale``: of the first in the second.

    ``cover``: where both images have points, the share of the area in which some agree. Two images of
    different things with one stamp agree where that is, and nowhere else.
    """

    points: int
    share: float
    scale: float
    flip: int
    cover: float


def register(first: Keypoints, second: Keypoints, flip: int = UNKNOWN) -> Registration | None:
    """How the second image, mirrored by ``flip``, lies on the first; None if it does not.

    Of unknown flips the one is tried by which most points look alike: no other is likely to be right.
    """
    tried = range(len(FLIPS)) if flip == UNKNOWN else (flip,)
    flipped = [flip_keypoints(second, each) for each in tried]
    matched = [_match(first, points) for points in flipped]
    best = max(range(len(matched)), key=lambda number: len(matched[number][0]))
    return _register(first, flipped[best], *matched[best], tried[best])


def _register(
    first: Keypoints,
    second: Keypoints,
    matched_first: NDArray[np.intp],
    matched_second: NDArray[np.intp],
    flip: int,
) -> Registration | None:
    if len(matched_first) < LEAST_POINTS:
        return None
    one, other = first[matched_first], second[matched_second]
    source, target = _places(one), _places(other)
    agree = _vote(source, target, np.float32(STEP) ** (other["level"].astype(np.float32) - one["level"]))
    for tolerance in (2 * _TOLERANCE, _TOLERANCE, _TOLERANCE):
        if agree.sum() < _FEWEST:
            return None
        matrix, shift = _fit(source[agree], target[agree])
        moved = source @ matrix + shift
        agree = np.hypot(*(moved - target).T) < tolerance
    if not _is_plausible(matrix):
        return None
    edge = (target.min(0) - _TOLERANCE, target.max(0) + _TOLERANCE)
    could = int(((moved > edge[0]) & (moved < edge[1])).all(1).sum())
    points = int(agree.sum())
    share = min(1.0, points / could)
    if points < LEAST_POINTS or share < _LEAST_SHARE or points * share < _LEAST_BOTH:
        return None
    back = np.linalg.inv(matrix)
    cover = min(
        _cover(_places(first), matrix, shift, source[agree]),
        _cover(_places(second), back, -shift @ back, target[agree]),
    )
    return Registration(points, share, float(abs(np.linalg.det(matrix)) ** 0.5), flip, cover)


def _match(first: Keypoints, second: Keypoints) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Points that are each other's most alike; of points that are equal, each."""
    alike = first["waves"].astype(np.float32) @ second["waves"].astype(np.float32).T
    if not alike.size:
        return np.empty(0, np.intp), np.empty(0, np.intp)
    rows, nearest = np.arange(len(first)), alike.argmax(1)
    highest = alike[rows, nearest]
    is_match = (highest == alike.max(0)[nearest]) & (highest > _LEAST_ALIKE * 127**2)
    return rows[is_match], nearest[is_match]


def _places(points: Keypoints) -> Floats:
    return np.stack([points["x"], points["y"]], 1).astype(np.float32)


def _vote(source: Floats, target: Floats, scales: Floats) -> NDArray[np.bool_]:
    """The matches that agree with the one that most agree with."""
    # Axis by axis: a maximum along an axis of two values takes NumPy most of the time of a pair.
    away = source.T[:, None] - source.T[:, :, None]
    missed = scales[:, None] * away + (target.T[:, :, None] - target.T[:, None])
    np.abs(away, out=away)
    np.abs(missed, out=missed)
    allowed = _TOLERANCE + _TOLERANCE_BY_DISTANCE * np.maximum(*away)
    agree = np.maximum(*missed) < allowed
    most: NDArray[np.bool_] = agree[agree.sum(1).argmax()]
    return most


def _cover(places: Floats, matrix: Floats, shift: Floats, agree: Floats) -> float:
    """Of the cells with points that lie on the other image, those in which some agree."""
    lies_on_other = (np.abs(places @ matrix + shift) < 0.5).all(1)
    return len(_cells(agree)) / max(1, len(_cells(np.concatenate([places[lies_on_other], agree]))))


def _cells(places: Floats) -> NDArray[np.int64]:
    """The numbers of the cells that hold one of the places."""
    column, row = np.clip((places + 0.5) * _CELLS, 0, _CELLS - 1).astype(np.int64).T
    return np.unique(row * _CELLS + column)


def _fit(source: Floats, target: Floats) -> tuple[Floats, Floats]:
    """The affine map of least squares."""
    middle, aim = source.mean(0), target.mean(0)
    away = source - middle
    # The ridge keeps points on one line from deciding what happens beside it.
    ridge = 1e-4 * len(away) * np.eye(2, dtype=np.float32)
    matrix = np.linalg.solve(away.T @ away + ridge, away.T @ (target - aim) + ridge)
    return matrix, aim - middle @ matrix


def _is_plausible(matrix: Floats) -> bool:
    """Neither far larger nor smaller, nor stretched, nor turned, nor mirrored."""
    larger, smaller = np.linalg.svd(matrix, compute_uv=False)
    turn = (matrix[0, 1] - matrix[1, 0]) / (larger + smaller)
    is_mirrored = np.linalg.det(matrix) <= 0
    return bool(
        _SCALES[0] < smaller
        and larger < _SCALES[1]
        and larger < _MOST_STRETCH * smaller
        and abs(turn) < _MOST_TURN
        and matrix[0, 0] + matrix[1, 1] > 0
        and not is_mirrored
    )
