"""ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design, https://arxiv.org/abs/1807.11164

Layers are named as in torchvision, whose 2.0 is 244, 488 and 976 wide as the paper's released code.
"""

from __future__ import annotations

import keras
from keras import layers

from app.networks.layers import batch_norm, conv, depthwise_conv, max_pool

# filters of the three stages, filters of the last 1x1
VARIANTS = {
    "shufflenet_v2_x0_5": ((48, 96, 192), 1024),
    "shufflenet_v2_x1_0": ((116, 232, 464), 1024),
    "shufflenet_v2_x1_5": ((176, 352, 704), 1024),
    "shufflenet_v2_x2_0": ((244, 488, 976), 2048),
}
_REPEATS = (4, 8, 4)


def build_backbone(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Image (batch, height, width, 3), normalised, to features (batch, 1024 or 2048)."""
    stages, last = VARIANTS[name]
    x = conv(x, 24, 3, strides=2, name="conv1.0")
    x = _norm_relu(x, "conv1.1")
    x = max_pool(x, name="maxpool")
    for stage, (filters, repeats) in enumerate(zip(stages, _REPEATS, strict=True), start=2):
        x = _down_block(x, filters // 2, f"stage{stage}.0")
        for block in range(1, repeats):
            x = _block(x, filters // 2, f"stage{stage}.{block}")
    x = conv(x, last, 1, name="conv5.0")
    x = _norm_relu(x, "conv5.1")
    return layers.GlobalAveragePooling2D(name="pool")(x)


def _down_block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Halve the image in both branches."""
    left = depthwise_conv(x, 3, strides=2, name=f"{name}.branch1.0")
    left = batch_norm(left, name=f"{name}.branch1.1")
    left = conv(left, filters, 1, name=f"{name}.branch1.2")
    left = _norm_relu(left, f"{name}.branch1.3")
    return _shuffle(left, _main_branch(x, filters, 2, f"{name}.branch2"), name)


def _block(x: keras.KerasTensor, filters: int, name: str) -> keras.KerasTensor:
    """Half of the channels pass as they are."""
    left, right = keras.ops.split(x, 2, axis=-1)
    return _shuffle(left, _main_branch(right, filters, 1, f"{name}.branch2"), name)


def _main_branch(x: keras.KerasTensor, filters: int, strides: int, name: str) -> keras.KerasTensor:
    x = conv(x, filters, 1, name=f"{name}.0")
    x = _norm_relu(x, f"{name}.1")
    x = depthwise_conv(x, 3, strides=strides, name=f"{name}.3")
    x = batch_norm(x, name=f"{name}.4")
    x = conv(x, filters, 1, name=f"{name}.5")
    return _norm_relu(x, f"{name}.6")


def _shuffle(left: keras.KerasTensor, right: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Join two halves so that their channels alternate."""
    x = layers.Concatenate(name=f"{name}.concat")([left, right])
    _, height, width, channels = x.shape
    x = layers.Reshape((height, width, 2, channels // 2), name=f"{name}.halves")(x)
    x = layers.Permute((1, 2, 4, 3), name=f"{name}.shuffle")(x)
    return layers.Reshape((height, width, channels), name=name)(x)


def _norm_relu(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = batch_norm(x, name=name)
    return layers.ReLU(name=f"{name}.relu")(x)
