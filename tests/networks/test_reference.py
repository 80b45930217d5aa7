"""Every network answers as its published reference does with the same weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keras
import numpy as np
import pytest

from app.networks import create_network, get_network, list_networks
from app.networks.pretrained.transplant import transplant
from tests.networks.reference import NUM_CLASSES, load_recorded, make_pictures, make_state
from tests.rotation import number_of_commit, turn

RECORDED = load_recorded()

# The largest difference allowed, as a share of what tells the two images apart: wrong padding, pooling,
# activation or order of channels shows at ten times as much or more.
TOLERANCE = 2e-3

# One of each builder and each way of its blocks; the others differ in a table only.
FAST = {
    "densenet121",
    "efficientnet_b0",
    "efficientnet_lite1",
    "inception_resnet_v1",
    "inception_v4",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "se_resnet50",
    "se_resnext50_32x4d",
    "shufflenet_v2_x0_5",
    "squeezenet1_0",
    "squeezenet1_1",
}
RECORDINGS = [(name, side) for name, entry in RECORDED.items() for side in entry["logits"]]
SLOW = [
    (name, side) for name, side in RECORDINGS if name not in FAST or side != min(RECORDED[name]["logits"])
]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "side" not in metafunc.fixturenames:
        return
    slow = set(SLOW)
    if metafunc.config.getoption("--logits-of-this-commit"):
        slow -= set(turn(SLOW, number_of_commit(Path(__file__).parent)))
    cases = [pytest.param(*case, marks=[pytest.mark.slow] if case in slow else []) for case in RECORDINGS]
    metafunc.parametrize(("name", "side"), cases)


@pytest.fixture(autouse=True)
def _fresh_keras() -> Iterator[None]:
    yield
    keras.backend.clear_session()


def test_a_network_with_its_references_weights_gives_its_references_logits(name: str, side: int) -> None:
    network = create_network(name, side, NUM_CLASSES, preprocessing=False)
    transplant(network, make_state(RECORDED[name]["tensors"], RECORDED[name]["gain"]))
    logits = network(make_pictures(side), training=False).numpy()
    expected = RECORDED[name]["logits"][side]
    apart = np.abs(expected[0] - expected[1]).max()
    assert np.abs(logits - expected).max() <= TOLERANCE * apart


def test_every_network_of_a_paper_is_held_against_a_reference() -> None:
    assert RECORDED.keys() == {spec.name for spec in list_networks()} - {"tiny_cnn"}
    for name, entry in RECORDED.items():
        assert get_network(name).image_size in entry["logits"]


def test_efficientnet_equals_keras_applications_with_the_same_weights() -> None:
    theirs = keras.applications.EfficientNetB0(
        weights=None, input_shape=(75, 75, 3), classifier_activation=None
    )
    ours = create_network("efficientnet_b0", 75, preprocessing=False)
    # Theirs normalises first, in three weights that untrained divide by 255 only.
    ours.set_weights(theirs.get_weights()[3:])
    pictures = make_pictures(75)
    expected = theirs(pictures * 255, training=False)
    np.testing.assert_allclose(ours(pictures, training=False), expected, rtol=1e-4, atol=1e-4)
