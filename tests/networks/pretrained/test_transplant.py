"""A state dict fits its network wholly or is refused; a new head keeps the network's own classifier."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest

from app.errors import WeightsError
from app.networks import create_network
from app.networks.pretrained.transplant import transplant
from tests.networks.reference import load_recorded, make_state

RECORDED = load_recorded()
NAME = "shufflenet_v2_x0_5"

State = dict[str, np.ndarray]


@pytest.fixture
def state() -> State:
    return make_state(RECORDED[NAME]["tensors"], RECORDED[NAME]["gain"])


@pytest.fixture
def network() -> keras.Model:
    return create_network(NAME, 32, num_classes=10)


def values(network: keras.Model) -> list[np.ndarray]:
    return [weight.numpy() for weight in network.weights]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("stage2.0.branch1.0.weight"), "lack 1 tensors"),
        (lambda state: state.update({"stage9.0.weight": np.zeros(3, np.float32)}), "no place for .*stage9"),
        (lambda state: state.update({"conv1.0.running_mean": np.zeros(24, np.float32)}), "no place for"),
        (lambda state: state.update({"fc.weight": np.zeros((7, 1024), np.float32)}), "shape .7, 1024."),
    ],
    ids=["missing", "left over", "of another layer", "of another shape"],
)
def test_a_state_dict_that_does_not_fit_is_refused_and_changes_nothing(
    network: keras.Model, state: State, change: object, message: str
) -> None:
    before = values(network)
    assert callable(change)
    change(state)
    with pytest.raises(WeightsError, match=message):
        transplant(network, state)
    assert all(np.array_equal(old, new) for old, new in zip(before, values(network), strict=True))


def test_every_tensor_arrives(network: keras.Model, state: State) -> None:
    before = values(network)
    transplant(network, state)
    assert all(not np.array_equal(old, new) for old, new in zip(before, values(network), strict=True))


def test_a_network_of_other_classes_takes_the_backbone_and_keeps_its_classifier(state: State) -> None:
    network = create_network(NAME, 32, num_classes=3)
    head = [weight.numpy() for weight in network.get_layer("logits").weights]
    transplant(network, state, with_head=False)
    np.testing.assert_array_equal(network.get_layer("conv5.1").gamma, state["conv5.1.weight"])
    for old, weight in zip(head, network.get_layer("logits").weights, strict=True):
        np.testing.assert_array_equal(old, weight)


def test_the_older_names_in_torchvisions_densenet_files_are_understood() -> None:
    tensors = make_state(RECORDED["densenet121"]["tensors"], 1.0)
    older = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))(\d)", r"\1.\2", name): value
        for name, value in tensors.items()
    }
    assert older.keys() != tensors.keys()
    transplant(create_network("densenet121", 32, num_classes=10), older)
