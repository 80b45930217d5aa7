"""What of an image has nothing to do with what it shows: its size, format, bytes, colour and border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.datasets.manifest import Item

Floats = NDArray[np.float32]
_BORDER = 2
"""Pixels of a thumbnail."""
_BLANK = 1.5
"""Grey values: an image that varies by less shows nothing."""


@dataclass(frozen=True)
class Looks:
    """Of each image, rows of float32: ``size`` as logarithms of width and height in pixels, ``form`` a column
    a file format, ``weight`` the logarithm of the file's bytes a pixel, ``colour`` the mean red, green and
    blue and how they relate, ``border`` means of the four sides and how much they vary, and the same of the
    outermost pixels all around, which a frame makes one. ``is_blank``: bool (images,).
    """

    size: Floats
    form: Floats
    weight: Floats
    colour: Floats
    border: Floats
    is_blank: NDArray[np.bool_]


def look_at(items: Sequence[Item], colours: NDArray[np.uint8], thumbnails: NDArray[np.uint8]) -> Looks:
    """``colours``: uint8 (images, 3), means; ``thumbnails``: uint8 (images, height, width), grey."""
    formats = sorted({item.format for item in items})
    grey = thumbnails.astype(np.float32)
    sides = [grey[:, :_BORDER], grey[:, -_BORDER:], grey[:, :, :_BORDER], grey[:, :, -_BORDER:]]
    flat = [side.reshape(len(items), -1) for side in sides]
    ring = np.concatenate([grey[:, 0], grey[:, -1], grey[:, 1:-1, 0], grey[:, 1:-1, -1]], axis=1)
    seen = [*flat, ring]
    border = [*(part.mean(axis=1) for part in seen), *(part.std(axis=1) for part in seen)]
    colour = colours.astype(np.float32)
    return Looks(
        size=np.log([(item.width, item.height) for item in items]).astype(np.float32),
        form=np.array([[item.format == name for name in formats] for item in items], np.float32),
        weight=np.log([[max(1, item.bytes) / (item.width * item.height)] for item in items]).astype(
            np.float32
        ),
        colour=np.concatenate([colour, np.log((colour[:, :2] + 1) / (colour[:, 1:] + 1))], axis=1),
        border=np.stack(border, axis=1),
        is_blank=grey.reshape(len(items), -1).std(axis=1) < _BLANK,
    )
