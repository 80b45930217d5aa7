"""MobileNetV2: Inverted Residuals and Linear Bottlenecks, https://arxiv.org/abs/1801.04381

The graph of keras.applications, with TensorFlow's "same" padding, for which its weights were trained; those
of torchvision and timm pad symmetrically.
"""

from __future__ import annotations

import keras


def build_backbone(x: keras.KerasTensor, _name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3) in -1..1 to features (batch, 1280)."""
    backbone = keras.applications.MobileNetV2(input_tensor=x, include_top=False, weights=None, pooling="avg")
    return backbone.output
