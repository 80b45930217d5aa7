"""From a network's name to a Keras model: input, normalisation, backbone, head."""

from __future__ import annotations

from importlib import import_module

import keras

from app.errors import ImageSizeError
from app.networks.layers import BATCH_NORM_MOMENTUM, normalize
from app.networks.registry import NetworkSpec, get_network


def create_network(
    name: str,
    image_size: int | tuple[int, int] | None = None,
    num_classes: int = 1000,
    *,
    preprocessing: bool = True,
    dropout: float | None = None,
) -> keras.Model:
    """Build a functional network with fresh weights.

    ``image_size`` is the side in pixels, or (height, width); None takes the network's own. The input is
    float32 (batch, height, width, 3), RGB: raw values 0 to 255 with ``preprocessing``, else already
    normalised as the network's family does it. The output is float32 logits (batch, num_classes), whatever
    the precision policy. ``dropout`` is the rate before the classifier; None takes the paper's.

    The classifier is the layer ``logits``, the dropout before it ``head_dropout``; the rest is the backbone.

    Raises UnknownNetworkError, and ImageSizeError when a side is under the network's minimum.
    """
    spec = get_network(name)
    height, width = _check_image_size(spec, image_size)
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, not {num_classes}")
    family = import_module(f"app.networks.{spec.family}")

    image = keras.Input((height, width, 3), dtype="float32", name="image")
    x = normalize(image, spec.normalization) if preprocessing else image
    x = family.build_backbone(x, spec.name)
    rate = spec.dropout if dropout is None else dropout
    x = keras.layers.Dropout(rate, name="head_dropout")(x)
    build_classifier = getattr(family, "build_classifier", _build_classifier)
    network = keras.Model(image, build_classifier(x, num_classes), name=spec.name)
    _set_batch_norm_momentum(network)
    return network


def _check_image_size(spec: NetworkSpec, image_size: int | tuple[int, int] | None) -> tuple[int, int]:
    """(height, width) in pixels, neither under the network's minimum."""
    if image_size is None:
        image_size = spec.image_size
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    if min(height, width) < spec.min_image_size:
        raise ImageSizeError(
            f"{spec.name} takes images of at least {spec.min_image_size} x {spec.min_image_size} pixels, "
            f"not {height} x {width}",
            hint=f"Set image_size to {spec.min_image_size} or more; the network's own is {spec.image_size}.",
        )
    return height, width


def _build_classifier(x: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
    return keras.layers.Dense(num_classes, dtype="float32", name="logits")(x)


def _set_batch_norm_momentum(network: keras.Model) -> None:
    """Give networks from keras.applications (0.99 and 0.999 there) the momentum of all the others."""
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = BATCH_NORM_MOMENTUM
