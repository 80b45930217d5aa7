"""SqueezeNet: AlexNet-level accuracy with 50x fewer parameters, https://arxiv.org/abs/1602.07360

1.0 is the paper's, 1.1 the authors' later one with 2.4 times fewer operations. Maxima overhang the edge
(torch's ceil_mode). Layers are named as in torchvision.
"""

from __future__ import annotations

import keras
from keras import layers

from app.networks.layers import max_pool_ceil

# The stem's filters and kernel, then the squeezed width of each fire module (an eighth of its output); 0 is a
# maximum.
VARIANTS = {
    "squeezenet1_0": (96, 7, (0, 16, 16, 32, 0, 32, 48, 48, 64, 0, 64)),
    "squeezenet1_1": (64, 3, (0, 16, 16, 0, 32, 32, 0, 48, 48, 64, 64)),
}

_INITIALIZER = "he_uniform"


def build_backbone(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3), normalised, to features (batch, rows, columns, 512)."""
    filters, kernel_size, modules = VARIANTS[name]
    x = layers.Conv2D(filters, kernel_size, strides=2, kernel_initializer=_INITIALIZER, name="features.0")(x)
    x = layers.ReLU(name="features.1")(x)
    for index, squeezed in enumerate(modules, start=2):
        x = (
            _fire(x, squeezed, f"features.{index}")
            if squeezed
            else max_pool_ceil(x, name=f"features.{index}")
        )
    return x


def build_classifier(x: keras.KerasTensor, num_classes: int) -> keras.KerasTensor:
    """Classify every place by a 1x1 convolution, then average: the layer ``logits`` holds the weights."""
    x = layers.Conv2D(
        num_classes, 1, kernel_initializer=keras.initializers.RandomNormal(stddev=0.01), name="logits"
    )(x)
    x = layers.ReLU(name="classifier.2")(x)
    return layers.GlobalAveragePooling2D(dtype="float32", name="classifier.3")(x)


def _fire(x: keras.KerasTensor, squeezed: int, name: str) -> keras.KerasTensor:
    def conv_relu(x: keras.KerasTensor, filters: int, kernel_size: int, part: str) -> keras.KerasTensor:
        return layers.Conv2D(
            filters,
            kernel_size,
            padding="same",
            activation="relu",
            kernel_initializer=_INITIALIZER,
            name=f"{name}.{part}",
        )(x)

    x = conv_relu(x, squeezed, 1, "squeeze")
    expanded = [conv_relu(x, 4 * squeezed, size, f"expand{size}x{size}") for size in (1, 3)]
    return layers.Concatenate(name=name)(expanded)
