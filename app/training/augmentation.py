"""Random variations of training images, as batched TensorFlow ops that depend on each image's own draws.

An image's pixels do not depend on its neighbours in the batch, to the bit. Its parameters are therefore
computed in NumPy, from add, multiply and divide alone: these round alike in vectorised and scalar code, where
sin may not. As ops of a TensorFlow graph they came out otherwise for other batch sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import tensorflow as tf

Array = np.ndarray[Any, Any]
Strength = Literal["none", "light", "strong"]

DRAWS = 15
"""Uniform numbers that one image needs."""

PARAMETERS = 18
"""What is made of them: a projective transform (8), gain and offset of each channel (6), a box (4)."""

_MID_GREY = 127.5


@dataclass(frozen=True)
class _Limits:
    """Greatest change to either side. Shift, zoom and cutout are parts of a side, brightness of 255."""

    shift: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    rotation_degrees: float = 0.0
    colour: float = 0.0
    cutout: float = 0.0


_LIMITS = {
    "none": _Limits(),
    "light": _Limits(shift=0.06, zoom=0.1, brightness=0.1, contrast=0.1),
    "strong": _Limits(
        shift=0.12, zoom=0.25, brightness=0.2, contrast=0.3, rotation_degrees=15, colour=0.1, cutout=0.4
    ),
}


def augmentation_parameters(
    draws: Array, *, strength: Strength, horizontal_flip: bool, image_size: tuple[int, int]
) -> Array:
    """float32 (n, PARAMETERS) for ``augment`` from ``draws``: float32 (n, DRAWS), uniform in [0, 1)."""
    limits, (height, width) = _LIMITS[strength], image_size
    signed = 2 * draws - 1
    mirror = np.where(draws[:, 0] < 0.5, -1, 1) if horizontal_flip and strength != "none" else 1
    scale = 1 / (1 + limits.zoom * signed[:, 1])
    # cos and sin of an angle from the tangent of its half, which is 0.0087 a degree
    half = 0.0087 * limits.rotation_degrees * signed[:, 2]
    cos = scale * (1 - half * half) / (1 + half * half)
    sin = scale * 2 * half / (1 + half * half)
    parameters = np.zeros((len(draws), PARAMETERS), np.float32)
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    for row, (x, y, middle, shift) in enumerate(
        [
            (mirror * cos, -sin, middle_x, limits.shift * width * signed[:, 3]),
            (mirror * sin, cos, middle_y, limits.shift * height * signed[:, 4]),
        ]
    ):
        parameters[:, 3 * row] = x
        parameters[:, 3 * row + 1] = y
        parameters[:, 3 * row + 2] = middle - x * middle_x - y * middle_y + shift
    gain = (1 + limits.contrast * signed[:, 5:6]) * (1 + limits.colour * signed[:, 6:9])
    parameters[:, 8:11] = gain
    parameters[:, 11:14] = _MID_GREY - _MID_GREY * gain + 255 * limits.brightness * signed[:, 9:10]
    half_sides = np.where(draws[:, 14:15] < 0.5, limits.cutout / 2 * draws[:, 12:14], 0)
    parameters[:, 14:16] = (draws[:, 10:12] - half_sides) * [height, width]
    parameters[:, 16:18] = (draws[:, 10:12] + half_sides) * [height, width]
    return parameters


def augment(images: Any, parameters: Any, *, strength: Strength) -> Any:
    """Varies raw images: float32 (n, h, w, 3), 0 to 255 in and out. ``parameters`` are made for it.

    light: flip, shift and zoom, brightness and contrast. strong: more of each, rotation, colour balance and,
    for every second image, cutout (DeVries and Taylor, arXiv 1708.04552). Borders are mirrored.
    """
    if strength == "none":
        return images
    images = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=parameters[:, :8],
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )
    images = images * parameters[:, None, None, 8:11] + parameters[:, None, None, 11:14]
    images = tf.clip_by_value(images, 0.0, 255.0)
    if not _LIMITS[strength].cutout:
        return images
    rows = _is_between(images.shape[1], parameters[:, 14], parameters[:, 16])[:, :, None, None]
    columns = _is_between(images.shape[2], parameters[:, 15], parameters[:, 17])[:, None, :, None]
    return tf.where(rows & columns, _MID_GREY, images)


def _is_between(size: int, start: Any, end: Any) -> Any:
    """bool (n, size): which pixels have their middle between the two places (n,), in pixels."""
    middles = tf.range(size, dtype=tf.float32) + 0.5
    return (middles >= start[:, None]) & (middles < end[:, None])
