"""Squeeze-and-Excitation Networks, https://arxiv.org/abs/1709.01507

As the authors released them in Caffe: the SE-ResNets halve the image in a block's first 1x1 (the
SE-ResNeXts in the 3x3), and the stem's maximum has no padding. Layers are named as in timm's legacy_seresnet.
"""

from __future__ import annotations

from dataclasses import replace

import keras

from app.networks.resnet import ResNetVariant, build_resnet

_SE_RESNET = ResNetVariant((3, 4, 6, 3), squeeze_excite=True, stride_in_first_conv=True, caffe_stem=True)
_SE_RESNEXT = ResNetVariant((3, 4, 6, 3), squeeze_excite=True, caffe_stem=True, groups=32, width_per_group=4)

VARIANTS = {
    "se_resnet50": _SE_RESNET,
    "se_resnet101": replace(_SE_RESNET, blocks=(3, 4, 23, 3)),
    "se_resnet152": replace(_SE_RESNET, blocks=(3, 8, 36, 3)),
    "se_resnext50_32x4d": _SE_RESNEXT,
    "se_resnext101_32x4d": replace(_SE_RESNEXT, blocks=(3, 4, 23, 3)),
}


def build_backbone(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3), normalised, to features (batch, 2048)."""
    return build_resnet(x, VARIANTS[name])
