"""Images in front of one background, such as parts in a fixture: what they are without its points.

A point belongs to the background if many of the images have one at its place that looks like it. Cameras and
fixtures move by a few pixels, so neighbouring places count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.datasets.near_duplicates.sketches import FEW_POINTS, Sketches
from app.datasets.near_duplicates.words import make_vocabulary

SHARE = 0.25
"""Of the images: what is at one place in so many belongs to none of them."""
_PLACES = 24
"""Along a side."""
_LOOKS = 3
"""Of a point, the patches that it looks like most: noise makes another one the nearest."""
_MOVES = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]


def take_off_background(sketches: Sketches) -> tuple[Sketches, NDArray[np.intp]]:
    """The sketches without what they have in common, and which of them have enough points left."""
    patches = make_vocabulary(sketches).patches
    if len(patches) <= _LOOKS:  # There are no points at all.
        return sketches[:0], np.empty(0, np.intp)
    looks, places = [], []
    for sketch in sketches:
        points = sketch["points"][: sketch["number"]]
        alike = points["waves"].astype(np.float32) @ patches.T
        looks.append(np.argpartition(-alike, _LOOKS, axis=1)[:, :_LOOKS].T)
        at = [((points[side].astype(np.float32) + 0.5) * _PLACES).astype(np.int64) for side in ("y", "x")]
        places.append(np.clip(np.stack(at, axis=1), 0, _PLACES - 1))
    having = np.zeros((len(patches), _PLACES + 2, _PLACES + 2), np.int32)
    for look, place in zip(looks, places, strict=True):
        near = [_index(each, place + move) for move in _MOVES for each in look]
        # An image counts once, however many of its points lie around a place.
        having.reshape(-1)[np.unique(np.concatenate(near))] += 1
    rest = np.array(sketches)
    for row, (look, place) in enumerate(zip(looks, places, strict=True)):
        shared = [having.reshape(-1)[_index(each, place)] >= SHARE * len(sketches) for each in look]
        own = rest[row]["points"][: len(place)][~np.any(shared, axis=0)]
        rest[row]["points"][: len(own)] = own
        rest[row]["number"] = len(own)
    enough = np.flatnonzero(rest["number"] >= FEW_POINTS)
    return rest[enough], enough


def _index(look: NDArray[np.intp], place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Into counts (looks, places and a margin, places and a margin)."""
    wide = _PLACES + 2
    flat: NDArray[np.int64] = (look * wide + place[:, 0] + 1) * wide + place[:, 1] + 1
    return flat
