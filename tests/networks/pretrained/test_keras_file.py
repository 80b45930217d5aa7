"""Files of keras.applications give a network exactly what they give keras.applications."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from app.errors import WeightsError
from app.networks import create_network
from app.networks.pretrained.published import load_file
from app.networks.pretrained.sources import get_published
from tests.networks.reference import make_pictures

BUILDERS = {"mobilenet_v1": keras.applications.MobileNet, "mobilenet_v2": keras.applications.MobileNetV2}


def write(name: str, path: Path) -> keras.Model:
    """A network of keras.applications with weights of its own, written as the published files are."""
    keras.utils.set_random_seed(3)
    model = BUILDERS[name](weights=None, input_shape=(96, 96, 3), classifier_activation=None)
    generator = np.random.default_rng(5)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([generator.uniform(0.5, 1.5, value.shape) for value in layer.get_weights()])
    model.save(path)
    return model


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_the_answers_are_those_of_keras_applications(name: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    reference = write(name, path)
    network = create_network(name, 96, preprocessing=False)
    pictures = make_pictures(96, 96)
    untouched = network(pictures).numpy()
    load_file(network, path, with_head=True)
    expected = reference(pictures).numpy()
    assert np.abs(expected - untouched).max() > 1e-2 * np.abs(expected).max()
    np.testing.assert_allclose(network(pictures).numpy(), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_other_classes_keep_their_classifier_and_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    reference = write("mobilenet_v1", path)
    network = create_network("mobilenet_v1", 96, num_classes=3)
    head = network.get_layer("logits").get_weights()
    load_file(network, path)
    assert np.array_equal(network.get_layer("logits").get_weights()[0], head[0])
    stem = network.get_layer("conv1").get_weights()[0]
    assert np.array_equal(stem, reference.get_layer("conv1").get_weights()[0])
    with pytest.raises(WeightsError, match="layers with weights"):
        load_file(create_network("tiny_cnn", 32), path)


def test_an_array_of_another_shape_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    network = create_network("tiny_cnn", 32, num_classes=3)
    before = network.get_weights()
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        layers = [layer for layer in network.layers if layer.weights]
        file.attrs["layer_names0"] = [layer.name for layer in layers[:1]]
        file.attrs["layer_names1"] = [layer.name for layer in layers[1:]]
        for layer in layers:
            group = file.create_group(layer.name)
            group.attrs["weight_names"] = [variable.name for variable in layer.weights]
            for variable in layer.weights:
                shape = (2, *variable.shape) if layer is layers[-1] else variable.shape
                group[variable.name] = np.zeros(shape, "float32")
    with pytest.raises(WeightsError, match="logits"):
        load_file(network, path, with_head=True)
    assert all(np.array_equal(one, two) for one, two in zip(network.get_weights(), before, strict=True))
    load_file(network, path)
    assert not network.get_weights()[0].any()


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + bytes(4000)])
def test_a_damaged_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    path.write_bytes(content)
    with pytest.raises(WeightsError):
        load_file(create_network("tiny_cnn", 32, num_classes=3), path)


def test_a_file_without_weights_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file["something"] = 1
    with pytest.raises(WeightsError, match="layer_names"):
        load_file(create_network("tiny_cnn", 32, num_classes=3), path)


@pytest.mark.parametrize("name", BUILDERS)
def test_the_weights_that_are_listed_are_kerass_own(name: str) -> None:
    weights = get_published(name)
    assert weights is not None
    assert weights.file_name.endswith(".h5")
