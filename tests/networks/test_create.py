"""Every network of the registry: size, gradients, saving, precision, preprocessing and errors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from app.errors import ImageSizeError, UnknownNetworkError
from app.networks import create_network, get_network, list_networks

# One small network for each builder runs always; the others of its family differ in a table only.
FAST = {
    "mobilenet_v2",
    "resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_1",
    "tiny_cnn",
}
EVERY_NETWORK = [
    pytest.param(spec.name, marks=() if spec.name in FAST else pytest.mark.slow) for spec in list_networks()
]


# keras.models.load_model asks TensorFlow's variables for arrays in numpy 1's way.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@pytest.fixture(autouse=True)
def _fresh_keras() -> Iterator[None]:
    keras.utils.set_random_seed(0)
    yield
    keras.config.set_dtype_policy("float32")
    keras.backend.clear_session()


def pictures(side: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (count, side, side, 3)).astype("float32")


def size_of(variables: list[Any]) -> int:
    return sum(int(np.prod(variable.shape)) for variable in variables)


@pytest.mark.parametrize("name", EVERY_NETWORK)
def test_a_network_is_as_large_as_its_paper_says_and_learns_in_all_its_weights(name: str) -> None:
    spec = get_network(name)
    network = create_network(name, spec.min_image_size)
    assert size_of(network.trainable_weights) == spec.parameters
    assert size_of(network.non_trainable_weights) == spec.statistics
    assert network.output_shape == (None, 1000)

    with tf.GradientTape() as tape:
        logits = network(pictures(spec.min_image_size), training=True)
        loss = keras.losses.sparse_categorical_crossentropy(np.array([0, 1]), logits, from_logits=True)
    for variable, gradient in zip(
        network.trainable_weights,
        tape.gradient(loss, [v.value for v in network.trainable_weights]),
        strict=True,
    ):
        assert gradient is not None, variable.path
        assert np.isfinite(gradient).all(), variable.path


@pytest.mark.parametrize("name", EVERY_NETWORK)
def test_a_saved_network_answers_as_before(name: str, tmp_path: Path) -> None:
    side = get_network(name).min_image_size + 5
    network = create_network(name, side, num_classes=3)
    network.save(tmp_path / "network.keras")
    loaded = keras.models.load_model(tmp_path / "network.keras")
    np.testing.assert_array_equal(
        network(pictures(side), training=False), loaded(pictures(side), training=False)
    )


@pytest.mark.parametrize("name", EVERY_NETWORK)
def test_logits_are_float32_under_mixed_precision(name: str) -> None:
    keras.config.set_dtype_policy("mixed_bfloat16")
    network = create_network(name, get_network(name).min_image_size, num_classes=3)
    logits = network(pictures(get_network(name).min_image_size))
    assert logits.dtype == tf.float32
    assert np.isfinite(logits).all()


@pytest.mark.parametrize("name", EVERY_NETWORK)
def test_head_and_batch_norm_are_the_same_in_every_network(name: str) -> None:
    network = create_network(name, get_network(name).min_image_size, num_classes=3, dropout=0.4)
    assert network.get_layer("logits").weights[-1].shape == (3,)
    assert network.get_layer("head_dropout").rate == 0.4
    assert {layer.momentum for layer in network.layers if hasattr(layer, "moving_mean")} <= {0.9}


def test_sides_may_differ() -> None:
    network = create_network("tiny_cnn", (16, 24), num_classes=2)
    assert network.input_shape == (None, 16, 24, 3)


def test_preprocessing_is_the_normalisation_in_front_of_the_bare_network() -> None:
    bare = create_network("resnet18", 32, num_classes=2, preprocessing=False)
    whole = create_network("resnet18", 32, num_classes=2)
    whole.set_weights(bare.get_weights())
    raw = pictures(32)
    mean, deviation = np.array([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], np.float32)
    normal = (raw / 255 - mean) / deviation
    np.testing.assert_allclose(whole(raw), bare(normal), rtol=1e-4, atol=1e-4)


def test_a_picture_under_the_minimum_is_refused_with_the_minimum() -> None:
    with pytest.raises(ImageSizeError, match="at least 32 x 32 pixels, not 64 x 31"):
        create_network("resnet18", (64, 31))


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(UnknownNetworkError):
        create_network("resnet51")


def test_the_smallest_network_learns_handwritten_digits() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.repeat(digits.images[..., None] * (255 / 16), 3, axis=-1).astype("float32")
    images = tf.image.resize(images, (16, 16)).numpy()
    network = create_network("tiny_cnn", 16, num_classes=10)
    network.compile(
        keras.optimizers.Adam(3e-3),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    network.fit(images[:1297], digits.target[:1297], batch_size=64, epochs=12, verbose=0)
    assert network.evaluate(images[1297:], digits.target[1297:], verbose=0)[1] >= 0.97
