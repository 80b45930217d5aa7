"""A small convolutional network for first steps, demonstrations and tests; of no paper.

Five 3x3 convolutions with batch normalisation, pooled twice: it learns 8-pixel digits on a CPU in seconds.
"""

from __future__ import annotations

import keras
from keras import layers

from app.networks.layers import batch_norm, conv

# filters, whether the maximum of 2x2 follows
_STAGES = ((16, False), (16, True), (32, False), (32, True), (64, False))


def build_backbone(x: keras.KerasTensor, _name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3) to features (batch, 64)."""
    for index, (filters, pooled) in enumerate(_STAGES):
        x = conv(x, filters, 3, name=f"conv{index}")
        x = batch_norm(x, name=f"bn{index}")
        x = layers.ReLU(name=f"relu{index}")(x)
        if pooled:
            x = layers.MaxPooling2D(2, name=f"pool{index}")(x)
    return layers.GlobalAveragePooling2D(name="pool")(x)
