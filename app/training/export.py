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

from app.artifacts import Output
from app.host import failpoints
from app.networks.create import create_network
from app.networks.pretrained.transplant import HEAD
from app.training.fit import check_shapes
from app.training.subsets import Subset

Array = np.ndarray[Any, Any]
_PROBABILITIES = "probabilities"


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


def create_inference_model(
    network: str, image_size: tuple[int, int], num_classes: int, *, temperature: float = 1.0
) -> keras.Model:
    """The same with fresh weights. Raises UnknownNetworkError, ImageSizeError."""
    with _float32_policy():
        model = create_network(network, image_size, num_classes, preprocessing=True, dropout=0.0)
        probabilities = keras.layers.Softmax(name=_PROBABILITIES)(model.output)
        return set_temperature(keras.Model(model.input, probabilities, name=model.name), temperature)


def set_temperature(model: keras.Model, temperature: float) -> keras.Model:
    """The inference model with softmax(logits / temperature), by a layer without weights, all others shared.

    In the model itself, so that each file that is made of it answers with calibrated probabilities.
    """
    if temperature == 1:
        return model
    with _float32_policy():
        logits = model.get_layer(_PROBABILITIES).input
        scaled = keras.layers.Rescaling(1 / temperature, name="temperature")(logits)
        probabilities = keras.layers.Softmax(name=_PROBABILITIES)(scaled)
        return keras.Model(model.input, probabilities, name=model.name)


def add_outputs(model: keras.Model) -> tuple[keras.Model, tuple[Output, ...]]:
    """The model as it is served, with the features that its classifier sees, and what its outputs are."""
    features, maps = find_features(model)
    outputs = [
        Output("probabilities", int(model.output_shape[1])),
        Output("features", int(features.shape[1])),
    ]
    tensors = [model.output, features]
    if maps is not None:
        rows, columns, channels = (int(side) for side in maps.shape[1:])
        outputs.append(Output("feature_maps", rows * columns * channels, (rows, columns, channels)))
        tensors.append(maps)
    return keras.Model(model.input, tensors, name=model.name), tuple(outputs)


def has_feature_maps(outputs: Sequence[Output]) -> bool:
    return any(output.kind == "feature_maps" for output in outputs)


def read_classifier(model: keras.Model) -> Array:
    """The kernel of the classifier, (dimensions, classes): what each class makes of the features."""
    kernel: Array = model.get_layer(HEAD).weights[0].numpy()
    return kernel.reshape(-1, kernel.shape[-1])


def find_features(model: keras.Model) -> tuple[keras.KerasTensor, keras.KerasTensor | None]:
    """What the classifier sees, (batch, dimensions), and the maps (batch, rows, columns, dimensions) of which
    that is the mean; None where the network makes it otherwise.
    """
    features = model.get_layer(HEAD).input
    if len(features.shape) == 4:  # a convolution classifies every place, and the mean comes after it
        return keras.layers.GlobalAveragePooling2D(name="features")(features), features
    tensor = features
    while isinstance(layer := _maker(tensor), keras.layers.Dropout | keras.layers.Flatten):
        tensor = layer.input
    is_mean = isinstance(layer, keras.layers.GlobalAveragePooling2D)
    return features, layer.input if is_mean else None


def _maker(tensor: keras.KerasTensor) -> keras.layers.Layer:
    return tensor._keras_history.operation


def predict_subsets(model: keras.Model, subsets: Sequence[Subset], alive: Callable[[], None]) -> list[Array]:
    """float32 (n, classes) for each subset: the model's probabilities for its records, in order.

    ``alive`` is called after each batch.
    """
    height, width = model.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec((None, height, width, 3), tf.uint8)])
    def predict(images):  # type: ignore[no-untyped-def]
        return model(tf.cast(images, tf.float32), training=False)

    def predict_one(subset: Subset) -> Array:
        batches = []
        for images, _ in subset.read_in_order():
            batches.append(predict(images).numpy())
            alive()
        return np.concatenate(batches)

    return [predict_one(subset) for subset in subsets]


def convert_to_litert(model: keras.Model) -> bytes:
    """The model as a LiteRT flatbuffer with a batch of 1, in float32, by TensorFlow's own converter.

    Its outputs are in the order of the model's.
    """
    height, width = model.input_shape[1:3]

    @tf.function(input_signature=[tf.TensorSpec((1, height, width, 3), tf.float32, name="image")])
    def serve(image):  # type: ignore[no-untyped-def]
        return model(image, training=False)

    # Frozen first: the converter finds Keras 3 variables neither in the function nor in the model, and writes
    # a model without weights and without an error.
    frozen = convert_variables_to_constants_v2(serve.get_concrete_function())
    converted: bytes = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
    return converted


def save_model(model: keras.Model, keras_path: Path, litert_path: Path) -> tuple[Output, ...]:
    """Writes both forms of the model; returns the outputs of the one that is served."""
    failpoints.pass_by("export.writing")
    model.save(keras_path)
    served, outputs = add_outputs(model)
    litert_path.write_bytes(convert_to_litert(served))
    return outputs


@contextmanager
def _float32_policy() -> Iterator[None]:
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
