"""EfficientNet: Rethinking Model Scaling for CNNs, https://arxiv.org/abs/1905.11946

Equal to keras.applications, which normalises inside its graph and so has no bare network to give.
TensorFlow's "same" padding; layers are named as in timm's tf_efficientnet.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
from keras import layers

from app.networks.layers import KERNEL_INITIALIZER, batch_norm

_EPSILON = 1e-3
_STOCHASTIC_DEPTH = 0.2

# expansion, kernel, strides, filters, repeats
_STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


@dataclass(frozen=True)
class EfficientNetVariant:
    """How far one network is scaled; ``lite`` leaves out what mobile accelerators run badly."""

    width: float
    depth: float
    lite: bool = False


VARIANTS = {
    "efficientnet_b0": EfficientNetVariant(1.0, 1.0),
    "efficientnet_b1": EfficientNetVariant(1.0, 1.1),
    "efficientnet_b2": EfficientNetVariant(1.1, 1.2),
    "efficientnet_b3": EfficientNetVariant(1.2, 1.4),
    "efficientnet_b4": EfficientNetVariant(1.4, 1.8),
    "efficientnet_b5": EfficientNetVariant(1.6, 2.2),
    "efficientnet_b6": EfficientNetVariant(1.8, 2.6),
    "efficientnet_b7": EfficientNetVariant(2.0, 3.1),
}


def build_backbone(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3), normalised, to features (batch, 1280 to 2560)."""
    return build_efficientnet(x, VARIANTS[name])


def build_efficientnet(x: keras.KerasTensor, variant: EfficientNetVariant) -> keras.KerasTensor:
    """Stem, seven stages of inverted residual blocks, the last 1x1 and the average over the image."""
    width = 1.0 if variant.lite else variant.width
    x = _conv(x, _round_filters(32, width), 3, strides=2, name="conv_stem")
    x = _norm_act(x, variant, "bn1")
    repeats = [
        count if variant.lite and stage in (0, 6) else math.ceil(variant.depth * count)
        for stage, (*_, count) in enumerate(_STAGES)
    ]
    index = 0
    for stage, (expansion, kernel_size, strides, filters, _) in enumerate(_STAGES):
        for block in range(repeats[stage]):
            x = _inverted_residual(
                x,
                _round_filters(filters, variant.width),
                kernel_size,
                strides if block == 0 else 1,
                expansion,
                _STOCHASTIC_DEPTH * index / sum(repeats),
                variant,
                f"blocks.{stage}.{block}",
            )
            index += 1
    x = _conv(x, _round_filters(1280, width), 1, name="conv_head")
    x = _norm_act(x, variant, "bn2")
    return layers.GlobalAveragePooling2D(name="global_pool")(x)


def _inverted_residual(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    strides: int,
    expansion: int,
    drop_rate: float,
    variant: EfficientNetVariant,
    name: str,
) -> keras.KerasTensor:
    """Expand, filter each channel, gate, project; the first stage does not expand."""
    inputs = x
    if expansion > 1:
        x = _conv(x, expansion * x.shape[-1], 1, name=f"{name}.conv_pw")
        x = _norm_act(x, variant, f"{name}.bn1")
    first, last, project = ("bn2", "bn3", "conv_pwl") if expansion > 1 else ("bn1", "bn2", "conv_pw")
    x = layers.DepthwiseConv2D(
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=False,
        depthwise_initializer=KERNEL_INITIALIZER,
        name=f"{name}.conv_dw",
    )(x)
    x = _norm_act(x, variant, f"{name}.{first}")
    if not variant.lite:
        # A quarter of the block's input, not of the expanded width.
        x = _squeeze_excite(x, max(1, inputs.shape[-1] // 4), f"{name}.se")
    x = _conv(x, filters, 1, name=f"{name}.{project}")
    x = batch_norm(x, epsilon=_EPSILON, name=f"{name}.{last}")
    if strides == 1 and inputs.shape[-1] == filters:
        if drop_rate > 0:
            x = layers.Dropout(drop_rate, noise_shape=(None, 1, 1, 1), name=f"{name}.drop_path")(x)
        x = layers.Add(name=f"{name}.add")([x, inputs])
    return x


def _squeeze_excite(x: keras.KerasTensor, squeezed: int, name: str) -> keras.KerasTensor:
    filters = x.shape[-1]
    gate = layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}.pool")(x)
    gate = _conv(gate, squeezed, 1, use_bias=True, name=f"{name}.conv_reduce")
    gate = layers.Activation("swish", name=f"{name}.act")(gate)
    gate = _conv(gate, filters, 1, use_bias=True, name=f"{name}.conv_expand")
    gate = layers.Activation("sigmoid", name=f"{name}.gate")(gate)
    return layers.Multiply(name=f"{name}.scale")([x, gate])


def _conv(
    x: keras.KerasTensor,
    filters: int,
    kernel_size: int,
    *,
    name: str,
    strides: int = 1,
    use_bias: bool = False,
) -> keras.KerasTensor:
    return layers.Conv2D(
        filters,
        kernel_size,
        strides=strides,
        padding="same",
        use_bias=use_bias,
        kernel_initializer=KERNEL_INITIALIZER,
        name=name,
    )(x)


def _norm_act(x: keras.KerasTensor, variant: EfficientNetVariant, name: str) -> keras.KerasTensor:
    x = batch_norm(x, epsilon=_EPSILON, name=name)
    return layers.Activation("relu6" if variant.lite else "swish", name=f"{name}.act")(x)


def _round_filters(filters: int, width: float) -> int:
    """Scaled to a multiple of 8 that is at most 10 % smaller."""
    scaled = filters * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded
