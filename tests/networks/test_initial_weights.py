"""Initial weights come from the seed, and from nothing else."""

from __future__ import annotations

from itertools import combinations

import keras
import numpy as np
import pytest

from app.networks import create_network

NAMES = ("tiny_cnn", "resnet18", "mobilenet_v2", "squeezenet1_1")


def build(name: str, seed: int) -> list[np.ndarray]:
    keras.utils.set_random_seed(seed)
    return [weight.numpy() for weight in create_network(name, 64, 3).weights]


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_the_weights(name: str) -> None:
    first, again, other = build(name, 1), build(name, 1), build(name, 2)
    assert all(np.array_equal(one, two) for one, two in zip(first, again, strict=True))
    assert all(not np.array_equal(one, two) for one, two in zip(first, other, strict=True) if one.ndim > 1)


@pytest.mark.parametrize("name", NAMES)
def test_no_two_layers_start_with_the_same_weights(name: str) -> None:
    kernels = [weight for weight in build(name, 0) if weight.ndim > 1]
    assert not [1 for one, two in combinations(kernels, 2) if np.array_equal(one, two)]
