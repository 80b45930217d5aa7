"""EfficientNet-Lite, https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite

EfficientNet without squeeze-and-excitation, with ReLU6 for swish; stem, head and the depth of the first and
last stage are not scaled. Layers are named as in timm's tf_efficientnet_lite.
"""

from __future__ import annotations

import keras

from app.networks.efficientnet import EfficientNetVariant, build_efficientnet

VARIANTS = {
    "efficientnet_lite0": EfficientNetVariant(1.0, 1.0, lite=True),
    "efficientnet_lite1": EfficientNetVariant(1.0, 1.1, lite=True),
    "efficientnet_lite2": EfficientNetVariant(1.1, 1.2, lite=True),
}


def build_backbone(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3) as (pixel - 127) / 128 to features (batch, 1280)."""
    return build_efficientnet(x, VARIANTS[name])
