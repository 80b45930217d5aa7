"""From trained weights to the model that is shipped: raw images in, probabilities out, in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from app.host import failpoints
from app.networks.create import create_network
from app.training.fit import check_shapes
from app.training.subsets import Subset

Array = np.ndarray[Any, Any]


def build_inference_model(
    network: str, image_size: tuple[int, int], num_classes: int, weights: Sequence[Array]
) -> keras.Model:
    """A functional model: float32 (n, h, w, 3) RGB 0 to 255 → float32 (n, classes) softmax probabilities.

    ``weights`` are the values of ``model.weights`` of the trained network, in order. It is built without
    dropout before the classifier, so it holds no random state there: its variables are its weights.
    """
    model = create_inference_model(network, image_size, num_classes)
    check_shapes("network's", model.weights, weights)
    for variable, value in zip(model.weights, weights, strict=True):
        variable.assign(value)
    return model


def create_inference_model(network: str, image_size: tuple[int, int], num_classes: int) -> keras.Model:
    """The same with fresh weights. Raises UnknownNetworkError, ImageSizeError."""
    with _float32_policy():
        model = create_network(network, image_size, num_classes, preprocessing=True, dropout=0.0)
        probabilities = keras.layers.Softmax(name="probabilities")(model.output)
        return keras.Model(model.input, probabilities, name=model.name)


def predict_subset(model: keras.Model, subset: Subset, alive: Callable[[], None]) -> Array:
    """float32 (n, classes): the model's probabilities for the subset's records, in order.

    ``alive`` is called after each batch.
    """
    height, width = model.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec((None, height, width, 3), tf.uint8)])
    def predict(images):  # type: ignore[no-untyped-def]
        return model(tf.cast(images, tf.float32), training=False)

    batches = []
    for images, _ in subset.read_in_order():
        batches.append(predict(images).numpy())
        alive()
    return np.concatenate(batches)


def convert_to_litert(model: keras.Model) -> bytes:
    """The model as a LiteRT flatbuffer with a batch of 1, in float32, by TensorFlow's own converter."""
    height, width = model.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec((1, height, width, 3), tf.float32, name="image")])
    def serve(image):  # type: ignore[no-untyped-def]
        return model(image, training=False)

    # Frozen first: the converter finds Keras 3 variables neither in the function nor in the model, and writes
    # a model without weights and without an error.
    frozen = convert_variables_to_constants_v2(serve.get_concrete_function())
    converted: bytes = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    return converted


def save_model(model: keras.Model, keras_path: Path, litert_path: Path) -> None:
    """Writes both forms of the model."""
    failpoints.pass_by("export.writing")
    model.save(keras_path)
    litert_path.write_bytes(convert_to_litert(model))


@contextmanager
def _float32_policy() -> Iterator[None]:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
