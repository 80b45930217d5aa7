"""A network as training sees it: a backbone and a classifier, each with an optimizer of its own.

Two optimizers, so that the backbone has its own learning rate and, where it is frozen at first, moments that
start when it does: Adam would take steps of up to three times the rate with those of a later count.
"""

from __future__ import annotations

from typing import Any

import keras

from app.schemas.hyperparameters import ResolvedHyperparameters
from app.training.optimizer import create_optimizer


class Trainee:
    """``backbone``: image to features; ``head``: features to logits. They share the network's layers."""

    def __init__(self, model: keras.Model, settings: ResolvedHyperparameters) -> None:
        features = model.get_layer("head_dropout").input
        self.model = model
        self.backbone = keras.Model(model.input, features)
        self.head = keras.Model(features, model.output)
        self.scales_loss = model.dtype_policy.compute_dtype == "float16"
        self.backbone_optimizer = create_optimizer(
            settings, self.backbone.trainable_variables, scale_loss=self.scales_loss
        )
        self.head_optimizer = create_optimizer(settings, self.head.trainable_variables)

    @property
    def optimizer_variables(self) -> list[Any]:
        return [*self.head_optimizer.variables, *self.backbone_optimizer.variables]
