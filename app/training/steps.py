"""What is computed on one batch: a training step and an evaluation step, one graph each for all sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import keras
import tensorflow as tf

from app.schemas.hyperparameters import ResolvedHyperparameters
from app.training.augmentation import PARAMETERS, augment
from app.training.replicas import Replicas
from app.training.trainee import Trainee

Step = Callable[..., Any]
ONE = Replicas()


def build_train_step(
    trainee: Trainee, settings: ResolvedHyperparameters, replicas: Replicas = ONE, *, is_frozen: bool = False
) -> Step:
    """step(images uint8 (n, h, w, 3), labels int32 (n,), weights float32 (n,), parameters, learning rate).

    Minimises the mean over the batch of weight x cross-entropy, labels smoothed as set. Returns float32 (2,):
    the sum of those losses and the number of images classified right, both before the update.
    Several replicas take a part of the batch each and add up their gradients; BatchNorm sees its part alone.
    With ``is_frozen`` only the classifier learns, on features as they will be when the network is used.
    """
    height, width = trainee.model.input_shape[1:3]
    head, backbone = trainee.head, trainee.backbone
    head_optimizer, backbone_optimizer = trainee.head_optimizer, trainee.backbone_optimizer
    factor = settings.backbone_learning_rate_factor

    def update(images, labels, weights, parameters, items):  # type: ignore[no-untyped-def]
        pictures = augment(tf.cast(images, tf.float32), parameters, strength=settings.augmentation)
        # Only the backbone computes in 16 bits, so only its gradients need it; its optimizer takes it out.
        scale = 1.0 if is_frozen else backbone_optimizer.scale_loss(1.0)
        if is_frozen:
            pictures = backbone(pictures, training=False)
        with tf.GradientTape() as tape:
            if not is_frozen:
                # Without training, BatchNorm uses its own statistics; gamma and beta still get gradients.
                pictures = backbone(pictures, training=settings.batch_norm == "updated")
            logits = tf.cast(head(pictures, training=True), tf.float32)
            losses = weights * cross_entropy(labels, logits, label_smoothing=settings.label_smoothing)
            # By the images of the whole batch: the optimizers add up the gradients of its parts.
            loss = tf.reduce_sum(losses) / items * scale
        variables = [head.trainable_variables, [] if is_frozen else backbone.trainable_variables]
        head_gradients, backbone_gradients = tape.gradient(loss, variables)
        head_optimizer.apply([gradient / scale for gradient in head_gradients], head.trainable_variables)
        if not is_frozen:
            if trainee.scales_loss:
                backbone_gradients = replicas.share_overflow(backbone_gradients)
            backbone_optimizer.apply(backbone_gradients, backbone.trainable_variables)
            if settings.batch_norm == "updated":
                replicas.average(backbone.non_trainable_variables)
        return tf.stack([tf.reduce_sum(losses), count_correct(labels, logits)])

    # The batch size stays open: a second trace costs seconds in a deep network, a fixed size gains nothing.
    @tf.function(
        jit_compile=False,
        input_signature=[
            tf.TensorSpec((None, height, width, 3), tf.uint8),
            tf.TensorSpec((None,), tf.int32),
            tf.TensorSpec((None,), tf.float32),
            tf.TensorSpec((None, PARAMETERS), tf.float32),
            tf.TensorSpec((), tf.float32),
        ],
    )
    def step(images, labels, weights, parameters, learning_rate):  # type: ignore[no-untyped-def]
        head_optimizer.learning_rate.assign(learning_rate)
        if not is_frozen:
            backbone_optimizer.learning_rate.assign(learning_rate * factor)
        items = tf.cast(tf.shape(labels)[0], tf.float32)
        return replicas.run(update, (images, labels, weights, parameters), items)

    return cast("Step", step)


def build_evaluation_step(model: keras.Model, replicas: Replicas = ONE) -> Step:
    """step(images uint8 (n, h, w, 3), labels int32 (n,)) -> float32 (2,): summed cross-entropy, number right.

    The loss is plain, neither weighted nor smoothed, so that it compares across settings.
    """
    height, width = model.input_shape[1:3]

    def measure(images, labels):  # type: ignore[no-untyped-def]
        logits = tf.cast(model(tf.cast(images, tf.float32), training=False), tf.float32)
        return tf.stack([tf.reduce_sum(cross_entropy(labels, logits)), count_correct(labels, logits)])

    @tf.function(
        jit_compile=False,
        input_signature=[
            tf.TensorSpec((None, height, width, 3), tf.uint8),
            tf.TensorSpec((None,), tf.int32),
        ],
    )
    def step(images, labels):  # type: ignore[no-untyped-def]
        return replicas.run(measure, (images, labels))

    if replicas.count == 1:
        return cast("Step", step)
    whole = build_evaluation_step(model)
    # The last batch may have fewer images than there are devices.
    return lambda images, labels: (step if len(labels) >= replicas.count else whole)(images, labels)


def cross_entropy(labels: Any, logits: Any, *, label_smoothing: float = 0.0) -> Any:
    """float32 (n,) from int labels (n,) and logits (n, classes); smoothing spreads over all classes alike."""
    classes = logits.shape[-1]
    targets = tf.one_hot(labels, classes) * (1.0 - label_smoothing) + label_smoothing / classes
    return tf.nn.softmax_cross_entropy_with_logits(targets, logits)


def count_correct(labels: Any, logits: Any) -> Any:
    """float32 scalar: how many have their label's logit as the first greatest."""
    predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)
    return tf.reduce_sum(tf.cast(predicted == labels, tf.float32))
