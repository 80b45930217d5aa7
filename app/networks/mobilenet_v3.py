"""Searching for MobileNetV3, https://arxiv.org/abs/1905.02244

The graph of keras.applications (squeeze-and-excitation, hard swish), with TensorFlow's "same" padding.
"""

from __future__ import annotations

import keras
from keras import layers

_BUILDERS = {
    "mobilenet_v3_large": (keras.applications.MobileNetV3Large, 1280),
    "mobilenet_v3_small": (keras.applications.MobileNetV3Small, 1024),
}


def build_backbone(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3) in -1..1 to features (batch, 1280 or 1024)."""
    build, features = _BUILDERS[name]
    x = build(input_tensor=x, include_top=False, weights=None, include_preprocessing=False).output
    x = layers.GlobalAveragePooling2D(keepdims=True, name="avg_pool")(x)
    # The paper's head widens after the average; keras.applications leaves this out with the classifier.
    x = layers.Conv2D(features, 1, name="conv_2")(x)
    x = layers.Activation("hard_swish", name="conv_2_activation")(x)
    return layers.Flatten(name="flatten")(x)
