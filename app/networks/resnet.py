"""Deep Residual Learning for Image Recognition, https://arxiv.org/abs/1512.03385

Differs from the paper as torchvision and timm do ("v1.5"): a bottleneck halves the image in its 3x3, not in
its first 1x1. ResNeXt and SE-ResNet are built from the same blocks. Layers are named as in torchvision.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers

from app.networks.layers import batch_norm, conv, max_pool, max_pool_ceil


@dataclass(frozen=True)
class ResNetVariant:
    """One residual network: blocks per stage, and what its paper changes in a block."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool = True
    groups: int = 1
    width_per_group: int = 64
    squeeze_excite: bool = False
    stride_in_first_conv: bool = False
    """The paper's bottleneck halves the image in its first 1x1."""
    caffe_stem: bool = False
    """The stem of the SE networks' Caffe release: maximum without padding, layers under the name layer0."""


VARIANTS = {
    "resnet18": ResNetVariant((2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNetVariant((3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNetVariant((3, 4, 6, 3)),
    "resnet101": ResNetVariant((3, 4, 23, 3)),
    "resnet152": ResNetVariant((3, 8, 36, 3)),
}


def build_backbone(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3), normalised, to features (batch, 512 or 2048)."""
    return build_resnet(x, VARIANTS[name])


def build_resnet(x: keras.KerasTensor, variant: ResNetVariant) -> keras.KerasTensor:
    """Stem, four stages of residual blocks and the average over the image."""
    stem, pool = ("layer0.", max_pool_ceil) if variant.caffe_stem else ("", max_pool)
    x = conv(x, 64, 7, strides=2, name=f"{stem}conv1")
    x = batch_norm(x, name=f"{stem}bn1")
    x = layers.ReLU(name=f"{stem}relu")(x)
    x = pool(x, name=f"{stem}maxpool")
    build_block = _bottleneck if variant.bottleneck else _basic_block
    for stage, blocks in enumerate(variant.blocks):
        for block in range(blocks):
            strides = 2 if stage > 0 and block == 0 else 1
            x = build_block(x, 64 * 2**stage, strides, variant, f"layer{stage + 1}.{block}")
    return layers.GlobalAveragePooling2D(name="avgpool")(x)


def _basic_block(
    x: keras.KerasTensor, filters: int, strides: int, _variant: ResNetVariant, name: str
) -> keras.KerasTensor:
    inputs = x
    x = conv(x, filters, 3, strides=strides, name=f"{name}.conv1")
    x = batch_norm(x, name=f"{name}.bn1")
    x = layers.ReLU(name=f"{name}.relu1")(x)
    x = conv(x, filters, 3, name=f"{name}.conv2")
    x = batch_norm(x, name=f"{name}.bn2")
    x = layers.Add(name=f"{name}.add")([x, _shortcut(inputs, filters, strides, name)])
    return layers.ReLU(name=f"{name}.relu2")(x)


def _bottleneck(
    x: keras.KerasTensor, filters: int, strides: int, variant: ResNetVariant, name: str
) -> keras.KerasTensor:
    first, second = (strides, 1) if variant.stride_in_first_conv else (1, strides)
    width = filters * variant.width_per_group // 64 * variant.groups
    inputs = x
    x = conv(x, width, 1, strides=first, name=f"{name}.conv1")
    x = batch_norm(x, name=f"{name}.bn1")
    x = layers.ReLU(name=f"{name}.relu1")(x)
    x = conv(x, width, 3, strides=second, groups=variant.groups, name=f"{name}.conv2")
    x = batch_norm(x, name=f"{name}.bn2")
    x = layers.ReLU(name=f"{name}.relu2")(x)
    x = conv(x, 4 * filters, 1, name=f"{name}.conv3")
    x = batch_norm(x, name=f"{name}.bn3")
    if variant.squeeze_excite:
        x = _squeeze_excite(x, f"{name}.se_module")
    x = layers.Add(name=f"{name}.add")([x, _shortcut(inputs, 4 * filters, strides, name)])
    return layers.ReLU(name=f"{name}.relu3")(x)


def _shortcut(x: keras.KerasTensor, filters: int, strides: int, name: str) -> keras.KerasTensor:
    """The block's input, projected only where its shape changes."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    x = conv(x, filters, 1, strides=strides, name=f"{name}.downsample.0")
    return batch_norm(x, name=f"{name}.downsample.1")


def _squeeze_excite(x: keras.KerasTensor, name: str, reduction: int = 16) -> keras.KerasTensor:
    filters = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.avg_pool")(x)
    gate = conv(gate, filters // reduction, 1, use_bias=True, name=f"{name}.fc1")
    gate = layers.ReLU(name=f"{name}.relu")(gate)
    gate = conv(gate, filters, 1, use_bias=True, name=f"{name}.fc2")
    gate = layers.Activation("sigmoid", name=f"{name}.sigmoid")(gate)
    return layers.Multiply(name=f"{name}.scale")([x, gate])
