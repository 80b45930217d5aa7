from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.training.optimizer import create_optimizer
from tests.training.settings import make_settings

RULES = ("adamw", "adam", "sgd", "rmsprop")


def make_model() -> Any:
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="conv")(image)
    x = keras.layers.BatchNormalization(name="bn")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(image, keras.layers.Dense(2, name="logits")(x))
    for variable in model.trainable_variables:
        variable.assign(tf.ones(variable.shape))
    return model


@pytest.mark.parametrize("rule", RULES)
def test_weight_decay_is_decoupled_and_spares_biases_and_batch_norm(rule: str) -> None:
    model = make_model()
    settings = make_settings(optimizer=rule, weight_decay=0.5, learning_rate=0.1)
    optimizer = create_optimizer(settings, model.trainable_variables)
    zero = [tf.zeros(variable.shape) for variable in model.trainable_variables]
    optimizer.apply(zero, model.trainable_variables)
    for variable in model.trainable_variables:
        expected = 1 - 0.1 * 0.5 if variable.name == "kernel" else 1.0
        assert np.allclose(variable.numpy(), expected), variable.path


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_goes_down_the_gradient_and_has_its_slots_from_the_start(rule: str) -> None:
    model = make_model()
    optimizer = create_optimizer(make_settings(optimizer=rule, weight_decay=0), model.trainable_variables)
    slots = len(optimizer.variables)
    optimizer.apply([tf.ones(v.shape) for v in model.trainable_variables], model.trainable_variables)
    assert all((variable.numpy() < 1).all() for variable in model.trainable_variables)
    assert len(optimizer.variables) == slots > len(model.trainable_variables)


def test_a_scaled_loss_gives_the_same_update() -> None:
    settings = make_settings(optimizer="sgd", momentum=0, weight_decay=0, learning_rate=0.5)
    updated = []
    for scale_loss in (False, True):
        model = make_model()
        optimizer = create_optimizer(settings, model.trainable_variables, scale_loss=scale_loss)
        optimizer.learning_rate.assign(0.25)
        scale = float(optimizer.scale_loss(tf.constant(1.0)))
        assert (scale > 1) == scale_loss
        optimizer.apply(
            [scale * tf.ones(v.shape) for v in model.trainable_variables], model.trainable_variables
        )
        updated.append(model.get_layer("conv").kernel.numpy())
    assert np.allclose(updated[0], 0.75)
    assert np.allclose(updated[0], updated[1])
