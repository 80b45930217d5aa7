"""Aggregated Residual Transformations for Deep Neural Networks, https://arxiv.org/abs/1611.05431

ResNet's bottleneck with a grouped 3x3, the image halved in that 3x3. Layers are named as in torchvision.
"""

from __future__ import annotations

import keras

from app.networks.resnet import ResNetVariant, build_resnet

VARIANTS = {
    "resnext50_32x4d": ResNetVariant((3, 4, 6, 3), groups=32, width_per_group=4),
    "resnext101_32x4d": ResNetVariant((3, 4, 23, 3), groups=32, width_per_group=4),
}


def build_backbone(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3), normalised, to features (batch, 2048)."""
    return build_resnet(x, VARIANTS[name])
