"""Points of an image that another image of the same thing has too, each with what is around it.

Multi-scale patches after Brown, Szeliski and Winder, "Multi-Image Matching using Multi-Scale Oriented
Patches" (2005), https://doi.org/10.1109/CVPR.2005.235. What differs: the points are extremes of a difference
of Gaussians; patches are not turned upright, since copies seldom are turned; and a patch is kept as the low
frequencies of its cosine transform, so that those of the mirrored or quarter-turned image follow from it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct

from app.datasets.near_duplicates.filters import AROUND, blur, highest_around
from app.datasets.near_duplicates.flips import FLIPS, flip_order, flip_signs

SIDE = 160
"""Pixels of a side of the image that points are searched in."""
POINTS = 192
STEP = 1.2
"""From one level of the pyramid to the next."""
LEVELS = 4
_INNER, _OUTER = 1.0, 1.6
_OFFSETS = np.array([-10, -7, -4, -1, 1, 4, 7, 10])
_REACH = 10
_WAVES = 6
_FAINT = 0.5
DIMENSIONS = _WAVES**2 - 1

Keypoint = np.dtype(
    [("x", np.float16), ("y", np.float16), ("level", np.uint8), ("waves", np.int8, (DIMENSIONS,))]
)
"""``x`` and ``y``: in shares of the image's sides, from its middle. ``waves``: of length 127."""
Keypoints = NDArray[np.void]
_COSINES = dct(np.eye(len(_OFFSETS)), axis=0, norm="ortho")[:_WAVES].astype(np.float32)


def find_keypoints(grey: NDArray[np.uint8]) -> Keypoints:
    """At most about POINTS: the strongest of each level of the pyramid, as an array of Keypoint."""
    # Stretched to a square: many copies were, for a network's input.
    image = Image.fromarray(grey).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    share = sum(STEP ** (-2 * level) for level in range(LEVELS))
    found = [np.empty(0, Keypoint)]
    for level in range(LEVELS):
        scale = STEP**-level
        side = round(SIDE * scale)
        pixels = image if level == 0 else image.resize((side, side), Image.Resampling.BILINEAR)
        x, y, waves = _find_on_level(np.asarray(pixels, np.float32), round(POINTS * scale**2 / share))
        points = np.empty(len(x), Keypoint)
        points["x"], points["y"] = (x + 0.5) / side - 0.5, (y + 0.5) / side - 0.5
        points["level"], points["waves"] = level, waves
        found.append(points)
    return np.concatenate(found)[:POINTS]


def flip_keypoints(points: Keypoints, flip: int) -> Keypoints:
    """Those of the mirrored image; ``flip``: a place of FLIPS."""
    if flip == 0:
        return points
    flipped = points.copy()
    x, y = ("y", "x") if flip & 4 else ("x", "y")
    flipped["x"] = -points[x] if flip & 1 else points[x]
    flipped["y"] = -points[y] if flip & 2 else points[y]
    flipped["waves"] = flip_waves(points["waves"], flip)
    return flipped


def flip_waves(waves: NDArray[Any], flip: int | NDArray[np.intp]) -> NDArray[Any]:
    """What is around points of the mirrored image, (n, DIMENSIONS); ``flip``: one for all, or int (n,)."""
    if isinstance(flip, int):
        flipped: NDArray[Any] = waves[:, _ORDER[flip]] * _SIGNS[flip]
    else:
        flipped = np.take_along_axis(waves, _ORDER[flip], axis=1) * _SIGNS[flip]
    return flipped


_SIGNS = flip_signs(_WAVES, _WAVES).reshape(len(FLIPS), -1)[:, 1:]
_ORDER = flip_order(_WAVES).reshape(len(FLIPS), -1)[:, 1:] - 1


def _find_on_level(values: NDArray[np.float32], most: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    inner = blur(values, _INNER)
    outer = blur(inner, (_OUTER**2 - _INNER**2) ** 0.5)
    response = np.abs(inner - outer)
    middle = (slice(_REACH, -_REACH), slice(_REACH, -_REACH))
    strength = response[middle]
    inside = slice(_REACH - AROUND, AROUND - _REACH)
    is_highest = strength == highest_around(response[inside, inside])
    y, x = np.nonzero(is_highest & (strength > _FAINT))
    if len(x) > most:
        strongest = np.argpartition(strength[y, x], -most)[-most:]
        y, x = y[strongest], x[strongest]
    y, x = y + _REACH, x + _REACH
    rows = y[:, None, None] + _OFFSETS[None, :, None]
    columns = x[:, None, None] + _OFFSETS[None, None, :]
    waves = (_COSINES @ outer[rows, columns] @ _COSINES.T).reshape(len(x), _WAVES**2)[:, 1:]
    waves *= 127 / np.maximum(np.linalg.norm(waves, axis=1, keepdims=True), 1e-6)
    return x, y, waves.round().astype(np.int8)
