"""The update rule: Keras optimizers with decoupled weight decay on kernels only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from app.schemas.hyperparameters import ResolvedHyperparameters


def create_optimizer(
    settings: ResolvedHyperparameters, variables: Sequence[Any], *, scale_loss: bool = False
) -> Any:
    """The optimizer named by the settings, its slots made for these trainable variables.

    Weight decay is decoupled for every rule (Loshchilov and Hutter, arXiv 1711.05101) and spares vectors:
    biases and BatchNorm's gamma and beta. ``scale_loss`` guards 16-bit gradients against underflow.
    The rate is set before each step, so the one given here is never used.
    """
    optimizer = _RULES[settings.optimizer](settings)
    vectors = [variable for variable in variables if len(variable.shape) <= 1]
    if settings.weight_decay and vectors:
        optimizer.exclude_from_weight_decay(var_list=vectors)
    if scale_loss:
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    optimizer.build(variables)
    return optimizer


def _decay(settings: ResolvedHyperparameters) -> float | None:
    return settings.weight_decay or None


_RULES = {
    "adamw": lambda s: keras.optimizers.AdamW(s.learning_rate, weight_decay=s.weight_decay),
    "adam": lambda s: keras.optimizers.Adam(s.learning_rate, weight_decay=_decay(s)),
    "sgd": lambda s: keras.optimizers.SGD(s.learning_rate, momentum=s.momentum, weight_decay=_decay(s)),
    "rmsprop": lambda s: keras.optimizers.RMSprop(
        s.learning_rate, momentum=s.momentum, weight_decay=_decay(s)
    ),
}
