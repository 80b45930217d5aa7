"""MobileNets: Efficient CNNs for Mobile Vision Applications, https://arxiv.org/abs/1704.04861

The graph of keras.applications, with TensorFlow's padding of even sizes.
"""

from __future__ import annotations

import keras


def build_backbone(x: keras.KerasTensor, _name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3) in -1..1 to features (batch, 1024)."""
    backbone = keras.applications.MobileNet(input_tensor=x, include_top=False, weights=None, pooling="avg")
    return backbone.output
