"""MobileNetV2: Inverted Residuals and Linear Bottlenecks, https://arxiv.org/abs/1801.04381

The graph of keras.applications, with TensorFlow's "same" padding: weights converted from torchvision or timm,
which pad symmetrically, do not fit.
"""

from __future__ import annotations

import keras


def build_backbone(x: keras.KerasTensor, _name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3) in -1..1 to features (batch, 1280)."""
    backbone = keras.applications.MobileNetV2(input_tensor=x, include_top=False, weights=None, pooling="avg")
    return backbone.output
