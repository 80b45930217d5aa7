"""Inception-v4, Inception-ResNet and the Impact of Residual Connections, https://arxiv.org/abs/1602.07261

Version 1 is the paper's; version 2 is the wider network that TF-slim released, the only one with published
weights. keras.applications has it without the scale of batch normalisation and without stable layer names,
so it is written here. Layers are named as in facenet-pytorch (1) and timm (2).
"""

from __future__ import annotations

import keras
from keras import layers

from app.networks.inception_v4 import Convolution, branch, conv_bn, pool_branch, reduction
from app.networks.layers import KERNEL_INITIALIZER

# The share of a residual that is added: without it activations grow by orders of magnitude.
_SCALE_35, _SCALE_17, _SCALE_8 = 0.17, 0.10, 0.20


def build_backbone(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3) in -1..1 to features (batch, 1792 or 1536)."""
    x = {"inception_resnet_v1": _build_v1, "inception_resnet_v2": _build_v2}[name](x)
    return layers.GlobalAveragePooling2D(name="avgpool_1a")(x)


def _build_v1(x: keras.KerasTensor) -> keras.KerasTensor:
    x = _stem(x)
    x = conv_bn(x, 256, 3, strides=2, padding="valid", name="conv2d_4b")
    for block in range(5):
        paths: list[list[Convolution]] = [[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (32, 3), (32, 3)]]
        x = _residual(x, paths, _SCALE_35, f"repeat_1.{block}")
    x = reduction(x, [[(384, 3)], [(192, 1), (192, 3), (256, 3)]], "mixed_6a")
    for block in range(10):
        x = _residual(
            x, [[(128, 1)], [(128, 1), (128, (1, 7)), (128, (7, 1))]], _SCALE_17, f"repeat_2.{block}"
        )
    x = reduction(x, [[(256, 1), (384, 3)], [(256, 1), (256, 3)], [(256, 1), (256, 3), (256, 3)]], "mixed_7a")
    for block in range(5):
        x = _residual(
            x, [[(192, 1)], [(192, 1), (192, (1, 3)), (192, (3, 1))]], _SCALE_8, f"repeat_3.{block}"
        )
    return x


def _build_v2(x: keras.KerasTensor) -> keras.KerasTensor:
    x = _stem(x)
    x = layers.MaxPooling2D(3, 2, name="maxpool_5a")(x)
    x = _mixed_5b(x, "mixed_5b")
    for block in range(10):
        paths: list[list[Convolution]] = [[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]]
        x = _residual(x, paths, _SCALE_35, f"repeat.{block}")
    x = reduction(x, [[(384, 3)], [(256, 1), (256, 3), (384, 3)]], "mixed_6a")
    for block in range(20):
        x = _residual(
            x, [[(192, 1)], [(128, 1), (160, (1, 7)), (192, (7, 1))]], _SCALE_17, f"repeat_1.{block}"
        )
    x = reduction(x, [[(256, 1), (384, 3)], [(256, 1), (288, 3)], [(256, 1), (288, 3), (320, 3)]], "mixed_7a")
    last: list[list[Convolution]] = [[(192, 1)], [(192, 1), (224, (1, 3)), (256, (3, 1))]]
    for block in range(9):
        x = _residual(x, last, _SCALE_8, f"repeat_2.{block}")
    x = _residual(x, last, 1.0, "block8", relu=False)
    return conv_bn(x, 1536, 1, name="conv2d_7b")


def _stem(x: keras.KerasTensor) -> keras.KerasTensor:
    x = conv_bn(x, 32, 3, strides=2, padding="valid", name="conv2d_1a")
    x = conv_bn(x, 32, 3, padding="valid", name="conv2d_2a")
    x = conv_bn(x, 64, 3, name="conv2d_2b")
    x = layers.MaxPooling2D(3, 2, name="maxpool_3a")(x)
    x = conv_bn(x, 80, 1, name="conv2d_3b")
    return conv_bn(x, 192, 3, padding="valid", name="conv2d_4a")


def _mixed_5b(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    paths = [
        branch(x, [(96, 1)], f"{name}.branch0"),
        branch(x, [(48, 1), (64, 5)], f"{name}.branch1"),
        branch(x, [(64, 1), (96, 3), (96, 3)], f"{name}.branch2"),
        pool_branch(x, 64, f"{name}.branch3"),
    ]
    return layers.Concatenate(name=name)(paths)


def _residual(
    x: keras.KerasTensor, branches: list[list[Convolution]], scale: float, name: str, *, relu: bool = True
) -> keras.KerasTensor:
    """Branches side by side, a biased linear 1x1 back to the input's width, a share of it added."""
    paths = [branch(x, path, f"{name}.branch{index}") for index, path in enumerate(branches)]
    mixed = layers.Concatenate(name=f"{name}.mixed")(paths)
    up = layers.Conv2D(x.shape[-1], 1, kernel_initializer=KERNEL_INITIALIZER, name=f"{name}.conv2d")(mixed)
    up = layers.Rescaling(scale, name=f"{name}.scale")(up)
    x = layers.Add(name=f"{name}.add")([x, up])
    return layers.ReLU(name=f"{name}.relu")(x) if relu else x
