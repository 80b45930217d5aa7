"""Inception-v4, Inception-ResNet and the Impact of Residual Connections, https://arxiv.org/abs/1602.07261

Inception-v4 as TF-slim released it. Layers are named as in timm's inception_v4.
"""

from __future__ import annotations

import keras
from keras import layers

from app.networks.layers import KERNEL_INITIALIZER, batch_norm

KernelSize = int | tuple[int, int]
Convolution = tuple[int, KernelSize]
"""Filters and kernel size."""


def build_backbone(x: keras.KerasTensor, _name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3) in -1..1 to features (batch, 1536)."""
    x = _stem(x)
    for block in range(6, 10):
        x = _inception_a(x, f"features.{block}")
    x = reduction(x, [[(384, 3)], [(192, 1), (224, 3), (256, 3)]], "features.10")
    for block in range(11, 18):
        x = _inception_b(x, f"features.{block}")
    x = reduction(
        x, [[(192, 1), (192, 3)], [(256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3)]], "features.18"
    )
    for block in range(19, 22):
        x = _inception_c(x, f"features.{block}")
    return layers.GlobalAveragePooling2D(name="global_pool")(x)


def conv_bn(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: KernelSize,
    *,
    name: str,
    strides: int = 1,
    padding: str = "same",
) -> keras.KerasTensor:
    """Convolution, batch normalisation and ReLU, the unit of every Inception network."""
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=KERNEL_INITIALIZER,
        name=f"{name}.conv",
    )(x)
    x = batch_norm(x, epsilon=1e-3, name=f"{name}.bn")
    return layers.ReLU(name=f"{name}.relu")(x)


def branch(
    x: keras.KerasTensor, convolutions: list[Convolution], name: str, *, reduce: bool = False
) -> keras.KerasTensor:
    """One path through a block; with ``reduce``, its last convolution halves the image, without padding."""
    last = len(convolutions) - 1
    for index, (filters, kernel_size) in enumerate(convolutions):
        strides, padding = (2, "valid") if reduce and index == last else (1, "same")
        part = f"{name}.{index}" if last else name
        x = conv_bn(x, filters, kernel_size, strides=strides, padding=padding, name=part)
    return x


def reduction(x: keras.KerasTensor, branches: list[list[Convolution]], name: str) -> keras.KerasTensor:
    """Branches that halve the image, and its maximum, side by side."""
    paths = [branch(x, path, f"{name}.branch{index}", reduce=True) for index, path in enumerate(branches)]
    pool = layers.MaxPooling2D(3, 2, name=f"{name}.branch{len(branches)}")(x)
    return layers.Concatenate(name=name)([*paths, pool])


def pool_branch(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Average of the neighbours (outside the image there are none), then a 1x1."""
    # Keras leaves the padding out of the average, as TF-slim does and torch does on request.
    x = layers.AveragePooling2D(3, 1, padding="same", name=f"{name}.0")(x)
    return conv_bn(x, filters, 1, name=f"{name}.1")


def _stem(x: keras.KerasTensor) -> keras.KerasTensor:
    x = conv_bn(x, 32, 3, strides=2, padding="valid", name="features.0")
    x = conv_bn(x, 32, 3, padding="valid", name="features.1")
    x = conv_bn(x, 64, 3, name="features.2")
    pool = layers.MaxPooling2D(3, 2, name="features.3.maxpool")(x)
    x = conv_bn(x, 96, 3, strides=2, padding="valid", name="features.3.conv")
    x = layers.Concatenate(name="features.3")([pool, x])
    narrow = branch(x, [(64, 1)], "features.4.branch0.0")
    narrow = conv_bn(narrow, 96, 3, padding="valid", name="features.4.branch0.1")
    wide = branch(x, [(64, 1), (64, (1, 7)), (64, (7, 1))], "features.4.branch1")
    wide = conv_bn(wide, 96, 3, padding="valid", name="features.4.branch1.3")
    x = layers.Concatenate(name="features.4")([narrow, wide])
    pool = layers.MaxPooling2D(3, 2, name="features.5.maxpool")(x)
    x = conv_bn(x, 192, 3, strides=2, padding="valid", name="features.5.conv")
    return layers.Concatenate(name="features.5")([x, pool])


def _inception_a(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    paths = [
        branch(x, [(96, 1)], f"{name}.branch0"),
        branch(x, [(64, 1), (96, 3)], f"{name}.branch1"),
        branch(x, [(64, 1), (96, 3), (96, 3)], f"{name}.branch2"),
        pool_branch(x, 96, f"{name}.branch3"),
    ]
    return layers.Concatenate(name=name)(paths)


def _inception_b(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    factorised: list[Convolution] = [(192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))]
    paths = [
        branch(x, [(384, 1)], f"{name}.branch0"),
        branch(x, [(192, 1), (224, (1, 7)), (256, (7, 1))], f"{name}.branch1"),
        branch(x, factorised, f"{name}.branch2"),
        pool_branch(x, 128, f"{name}.branch3"),
    ]
    return layers.Concatenate(name=name)(paths)


def _inception_c(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    first = conv_bn(x, 256, 1, name=f"{name}.branch0")
    split = conv_bn(x, 384, 1, name=f"{name}.branch1_0")
    second = [
        conv_bn(split, 256, (1, 3), name=f"{name}.branch1_1a"),
        conv_bn(split, 256, (3, 1), name=f"{name}.branch1_1b"),
    ]
    split = conv_bn(x, 384, 1, name=f"{name}.branch2_0")
    split = conv_bn(split, 448, (3, 1), name=f"{name}.branch2_1")
    split = conv_bn(split, 512, (1, 3), name=f"{name}.branch2_2")
    third = [
        conv_bn(split, 256, (1, 3), name=f"{name}.branch2_3a"),
        conv_bn(split, 256, (3, 1), name=f"{name}.branch2_3b"),
    ]
    fourth = pool_branch(x, 256, f"{name}.branch3")
    return layers.Concatenate(name=name)([first, *second, *third, fourth])
