"""Images in front of one background, such as parts in a fixture: what they are without its points.

A point belongs to the background if many of the images have one at its place that looks like it. Cameras and
fixtures move by a few pixels, so neighbouring places count.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from app.datasets.near_duplicates.sketches import FEW_POINTS, Sketches
from app.datasets.near_duplicates.words import make_vocabulary

SHARE = 0.25
"""Of the images: what is at one place in so many belongs to none of them."""
_PLACES = 24
"""Along a side."""
_WIDE = _PLACES + 2
_LOOKS = 3
"""Of a point, the patches that it looks like most: noise makes another one the nearest."""
_MOVES = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]


def take_off_background(
    sketches: Sketches, images: NDArray[np.intp], progress: Callable[[int], None]
) -> tuple[Sketches, NDArray[np.intp]]:
    """The sketches of ``images`` without what these have in common; and which images have points enough left.

    ``progress`` is called with the images done, and may raise to leave.
    """
    rest = sketches[images]
    patches = make_vocabulary(rest).patches
    if len(patches) <= _LOOKS:  # There are no points at all.
        return rest[:0], images[:0]
    looks, places = [], []
    for done, sketch in enumerate(rest, 1):
        points = sketch["points"][: sketch["number"]]
        alike = points["waves"].astype(np.float32) @ patches.T
        looks.append(np.argpartition(-alike, _LOOKS, axis=1)[:, :_LOOKS].T.astype(np.int16))
        at = [((points[side].astype(np.float32) + 0.5) * _PLACES).astype(np.int16) for side in ("y", "x")]
        places.append(np.clip(np.stack(at, axis=1), 0, _PLACES - 1))
        progress(done)
    having = np.zeros(len(patches) * _WIDE**2, np.int32)
    for look, place in zip(looks, places, strict=True):
        near = [_index(each, place, move) for move in _MOVES for each in look]
        # An image counts once, however many of its points lie around a place.
        having[np.unique(np.concatenate(near))] += 1
    least = SHARE * len(rest)
    for row, (look, place) in enumerate(zip(looks, places, strict=True)):
        shared = [having[_index(each, place)] >= least for each in look]
        own = rest[row]["points"][: len(place)][~np.any(shared, axis=0)]
        rest[row]["points"][: len(own)] = own
        rest[row]["number"] = len(own)
    enough = rest["number"] >= FEW_POINTS
    return rest[enough], images[enough]


def _index(
    look: NDArray[np.int16], place: NDArray[np.int16], move: tuple[int, int] = (0, 0)
) -> NDArray[np.int64]:
    """Into counts of (look, place down, place right), with a margin around the places."""
    down, right = (place[:, axis] + np.int64(1 + move[axis]) for axis in (0, 1))
    flat: NDArray[np.int64] = (look.astype(np.int64) * _WIDE + down) * _WIDE + right
    return flat
