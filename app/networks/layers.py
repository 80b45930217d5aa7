"""Layers that several families share, with the padding and defaults of the published weights."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers

# The fraction that is kept: torch's 0.1, which is the fraction that is new. Keras' own 0.99 leaves the moving
# statistics of a short training far behind its weights.
BATCH_NORM_MOMENTUM = 0.9

# A recipe and not an initializer: that draws its seed once, when it is made. Shared, it would give all layers
# of one shape the same weights; made at import, weights that set_random_seed comes too late for.
KERNEL_INITIALIZER = {
    "class_name": "VarianceScaling",
    "config": {"scale": 2.0, "mode": "fan_out", "distribution": "untruncated_normal"},
}

_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)

# Scale and offset that take 0..255 to what each family's published weights were trained on.
NORMALIZATIONS: dict[str, tuple[Any, Any]] = {
    "imagenet": (
        [1 / (255 * std) for std in _IMAGENET_STD],
        [-mean / std for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)],
    ),
    "minus_one_to_one": (1 / 127.5, -1.0),
    "lite": (1 / 128, -127 / 128),
}


def normalize(x: keras.KerasTensor, normalization: str) -> keras.KerasTensor:
    """Raw RGB 0..255 to the family's range; in float32, since 8 bits of image fill half of float16."""
    scale, offset = NORMALIZATIONS[normalization]
    return layers.Rescaling(scale, offset, dtype="float32", name="normalization")(x)


@keras.saving.register_keras_serializable(package="loupe")
class GroupedConv2D(layers.Conv2D):  # type: ignore[misc]  # Keras is untyped
    """Grouped convolution, (batch, height, width, channels), with the kernel layout of Keras' own.

    Keras sends groups > 1 through XLA, whose gradient on a CPU is about 150 times slower than splitting the
    channels, convolving each group and concatenating; a GPU has a kernel for the whole.
    """

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        padding = self.padding.upper()
        if tf.config.list_logical_devices("GPU"):
            return tf.nn.conv2d(inputs, kernel, self.strides, padding)
        parts = zip(tf.split(inputs, self.groups, -1), tf.split(kernel, self.groups, -1), strict=True)
        return tf.concat([tf.nn.conv2d(x, k, self.strides, padding) for x, k in parts], -1)


def conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    *,
    name: str,
    strides: int = 1,
    groups: int = 1,
    use_bias: bool = False,
) -> keras.KerasTensor:
    """Convolution that pads ``kernel_size // 2`` on every side, as torch does.

    At stride 2 that differs from Keras' "same", which pads even inputs at the bottom and the right only.
    """
    x, padding = _pad_as_torch(x, kernel_size, strides, name)
    layer, grouping = (GroupedConv2D, {"groups": groups}) if groups > 1 else (layers.Conv2D, {})
    return layer(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=use_bias,
        kernel_initializer=KERNEL_INITIALIZER,
        name=name,
        **grouping,
    )(x)


def depthwise_conv(
    x: keras.KerasTensor, kernel_size: int, *, name: str, strides: int = 1
) -> keras.KerasTensor:
    """Depthwise convolution without bias, padded as ``conv``."""
    x, padding = _pad_as_torch(x, kernel_size, strides, name)
    return layers.DepthwiseConv2D(
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        depthwise_initializer=KERNEL_INITIALIZER,
        name=name,
    )(x)


def batch_norm(x: keras.KerasTensor, *, name: str, epsilon: float = 1e-5) -> keras.KerasTensor:
    """Batch normalisation with torch's epsilon and momentum."""
    return layers.BatchNormalization(momentum=BATCH_NORM_MOMENTUM, epsilon=epsilon, name=name)(x)


def max_pool(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """3x3 maximum at stride 2 with one pixel of padding; the input must not be negative."""
    x = layers.ZeroPadding2D(1, name=f"{name}.pad")(x)
    return layers.MaxPooling2D(3, 2, name=name)(x)


def max_pool_ceil(x: keras.KerasTensor, *, name: str) -> keras.KerasTensor:
    """3x3 maximum at stride 2 whose last window may hang over the edge; the input must not be negative.

    torch's ``ceil_mode``: equal to "same" at even sizes only.
    """
    missing = [(size - 3) % 2 for size in x.shape[1:3]]
    if any(missing):
        x = layers.ZeroPadding2D(((0, missing[0]), (0, missing[1])), name=f"{name}.pad")(x)
    return layers.MaxPooling2D(3, 2, name=name)(x)


def _pad_as_torch(
    x: keras.KerasTensor, kernel_size: int, strides: int, name: str
) -> tuple[keras.KerasTensor, str]:
    """Padded input, and the padding left to the convolution: an odd kernel at stride 1 pads itself alike."""
    if strides == 1 or kernel_size == 1:
        return x, "same" if kernel_size > 1 else "valid"
    return layers.ZeroPadding2D(kernel_size // 2, name=f"{name}.pad")(x), "valid"
