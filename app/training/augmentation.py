"""Random variations of training pictures, as batched TensorFlow ops that depend on each picture's own draws.

A picture's pixels do not depend on its neighbours in the batch, to the bit: parameters come from add, multiply
and divide alone, which round alike in vectorised and scalar code, where exp or sin may not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import tensorflow as tf

DRAWS = 16
"""Uniform numbers that one picture needs."""

_MID_GREY = 127.5


@dataclass(frozen=True)
class _Strength:
    """Greatest change to either side. Shift, zoom and cutout are parts of a side, brightness of 255."""

    shift: float
    zoom: float
    brightness: float
    contrast: float
    rotation_degrees: float = 0.0
    colour: float = 0.0
    cutout: float = 0.0


_STRENGTHS = {
    "light": _Strength(shift=0.06, zoom=0.1, brightness=0.1, contrast=0.1),
    "strong": _Strength(
        shift=0.12, zoom=0.25, brightness=0.2, contrast=0.3, rotation_degrees=15, colour=0.1, cutout=0.4
    ),
}


def augment(
    images: Any, draws: Any, *, strength: Literal["none", "light", "strong"], horizontal_flip: bool
) -> Any:
    """Varies raw pictures: float32 (n, h, w, 3), 0 to 255 in and out. ``draws``: float32 (n, DRAWS) in [0, 1).

    light: flip, shift and zoom, brightness and contrast. strong: more of each, rotation, colour balance and,
    for every second picture, cutout (DeVries and Taylor, arXiv 1708.04552). Borders are mirrored.
    """
    if strength == "none":
        return images
    by = _STRENGTHS[strength]
    images = _warp(images, draws, by, horizontal_flip)
    images = _recolour(images, draws, by)
    return _cut_out(images, draws, by.cutout) if by.cutout else images


def _warp(images: Any, draws: Any, by: _Strength, horizontal_flip: bool) -> Any:
    """Flip, rotation, zoom and shift in one bilinear resampling."""
    height, width = float(images.shape[1]), float(images.shape[2])
    mirror = (
        1.0 - 2.0 * tf.cast(draws[:, 0] < 0.5, tf.float32) if horizontal_flip else tf.ones_like(draws[:, 0])
    )
    scale = 1.0 / (1.0 + by.zoom * _signed(draws[:, 1]))
    # cos and sin of an angle from the tangent of its half, here 0.0087 a degree
    half = 0.0087 * by.rotation_degrees * _signed(draws[:, 2])
    cos = scale * (1.0 - half * half) / (1.0 + half * half)
    sin = scale * (2.0 * half) / (1.0 + half * half)
    centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
    a0, a1, b0, b1 = mirror * cos, -sin, mirror * sin, cos
    a2 = centre_x - a0 * centre_x - a1 * centre_y + by.shift * width * _signed(draws[:, 3])
    b2 = centre_y - b0 * centre_x - b1 * centre_y + by.shift * height * _signed(draws[:, 4])
    zero = tf.zeros_like(a0)
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1),
        output_shape=images.shape[1:3],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )


def _recolour(images: Any, draws: Any, by: _Strength) -> Any:
    """Contrast about mid-grey, colour balance and brightness: one gain and one offset a channel."""
    gain = (1.0 + by.contrast * _signed(draws[:, 5:6])) * (1.0 + by.colour * _signed(draws[:, 6:9]))
    offset = _MID_GREY - _MID_GREY * gain + 255.0 * by.brightness * _signed(draws[:, 9:10])
    varied = images * gain[:, None, None, :] + offset[:, None, None, :]
    return tf.clip_by_value(varied, 0.0, 255.0)


def _cut_out(images: Any, draws: Any, share: float) -> Any:
    """Every second picture loses a grey rectangle, each side up to ``share`` of the picture's."""
    inside = _band(images.shape[1], draws[:, 10], share * draws[:, 12])[:, :, None, None]
    inside &= _band(images.shape[2], draws[:, 11], share * draws[:, 13])[:, None, :, None]
    inside &= (draws[:, 14] < 0.5)[:, None, None, None]
    return tf.where(inside, _MID_GREY, images)


def _band(size: int, centre: Any, share: Any) -> Any:
    """bool (n, size): which places lie within ``share`` of a side about ``centre``, both parts of the side."""
    places = (tf.range(size, dtype=tf.float32) + 0.5) / float(size)
    return tf.abs(places[None, :] - centre[:, None]) < share[:, None] / 2


def _signed(draws: Any) -> Any:
    return 2.0 * draws - 1.0
