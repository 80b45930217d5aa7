"""Densely Connected Convolutional Networks, https://arxiv.org/abs/1608.06993

121, 169 and 201 are the graphs of keras.applications; 264 is built here to the same plan and names.
"""

from __future__ import annotations

import keras
from keras import layers

from app.networks.layers import batch_norm, conv, max_pool

_FROM_KERAS = {
    "densenet121": keras.applications.DenseNet121,
    "densenet169": keras.applications.DenseNet169,
    "densenet201": keras.applications.DenseNet201,
}
_GROWTH_RATE = 32


def build_backbone(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3), normalised, to features (batch, 1024 to 2688)."""
    if name in _FROM_KERAS:
        return _FROM_KERAS[name](input_tensor=x, include_top=False, weights=None, pooling="avg").output
    return build_densenet(x, (6, 12, 64, 48))


def build_densenet(x: keras.KerasTensor, blocks: tuple[int, int, int, int]) -> keras.KerasTensor:
    """Stem, four dense blocks with a halving transition after each but the last, the average."""
    x = conv(x, 64, 7, strides=2, name="conv1_conv")
    x = _norm_relu(x, "conv1")
    x = max_pool(x, name="pool1")
    for stage, count in enumerate(blocks, start=2):
        for block in range(1, count + 1):
            x = _dense_layer(x, f"conv{stage}_block{block}")
        if stage < 5:
            x = _transition(x, f"pool{stage}")
    x = batch_norm(x, name="bn")
    x = layers.ReLU(name="relu")(x)
    return layers.GlobalAveragePooling2D(name="avg_pool")(x)


def _dense_layer(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    new = _norm_relu(x, f"{name}_0")
    new = conv(new, 4 * _GROWTH_RATE, 1, name=f"{name}_1_conv")
    new = _norm_relu(new, f"{name}_1")
    new = conv(new, _GROWTH_RATE, 3, name=f"{name}_2_conv")
    return layers.Concatenate(name=f"{name}_concat")([x, new])


def _transition(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = _norm_relu(x, name)
    x = conv(x, x.shape[-1] // 2, 1, name=f"{name}_conv")
    return layers.AveragePooling2D(2, name=f"{name}_pool")(x)


def _norm_relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = batch_norm(x, name=f"{name}_bn")
    return layers.ReLU(name=f"{name}_relu")(x)
