"""Several devices train as one does; two virtual processors stand in for two GPUs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from app.images.resize import FIRST_RULE

Result = dict[str, Any]


@pytest.fixture(scope="module")
def result(pictures: Any, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What two_processors.py measured."""
    folder = tmp_path_factory.mktemp("replicas")
    # Other tests write records of a part of the dataset beside those of all of it.
    [records] = (pictures.root / "records").glob(f"{pictures.manifest.digest}-*-{FIRST_RULE.name}")
    split = json.dumps({name: positions.tolist() for name, positions in pictures.split.items()})
    command = [sys.executable, "-m", "tests.training.two_processors", str(folder), str(records), split]
    ended = subprocess.run(command, capture_output=True, text=True, env={**os.environ}, check=False)
    assert ended.returncode == 0, ended.stderr
    measured: Result = json.loads((folder / "result.json").read_text())
    return measured


def array(result: Result, name: str, part: str) -> np.ndarray:
    return np.array(result[name][part])


def weights(result: Result, name: str) -> np.ndarray:
    return np.concatenate([np.ravel(value) for value in result[name]["weights"]])


def test_two_devices_give_the_loss_curve_of_one_at_the_same_batch(result: Result) -> None:
    """With BatchNorm's statistics at rest, in both phases, on batches that cannot be halved."""
    assert result["device"] == {"kind": "cpu", "replicas": ["CPU:0", "CPU:1"]}
    for part in ("steps", "valid"):
        one, two = array(result, "frozen-one", part), array(result, "frozen-two", part)
        np.testing.assert_allclose(two, one, rtol=1e-5)
    assert len(one) == 2
    np.testing.assert_allclose(weights(result, "frozen-two"), weights(result, "frozen-one"), atol=1e-5)


def test_a_training_resumed_on_two_devices_goes_on_as_it_would_have(result: Result) -> None:
    for part in ("steps", "valid"):
        whole, resumed = array(result, "frozen-two", part), array(result, "frozen-resumed", part)
        np.testing.assert_allclose(resumed, whole, rtol=1e-5)
    np.testing.assert_allclose(weights(result, "frozen-resumed"), weights(result, "frozen-two"), atol=1e-5)


def test_batch_norm_sees_a_part_of_the_batch_and_learns_about_as_well(result: Result) -> None:
    one, two = array(result, "updated-one", "valid"), array(result, "updated-two", "valid")
    assert not np.allclose(
        array(result, "updated-one", "steps"), array(result, "updated-two", "steps"), rtol=1e-5
    )
    np.testing.assert_allclose(two[:, 0], one[:, 0], atol=0.1)


def test_batch_norms_moving_statistics_are_the_mean_over_the_devices(result: Result) -> None:
    one, two = array(result, "step-one", "mean"), array(result, "step-two", "mean")
    np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)


def test_random_generators_advance_as_on_one_device(result: Result) -> None:
    assert result["step-two"]["seeds"] == result["step-one"]["seeds"]
    assert len(result["step-two"]["seeds"]) == 1


def test_an_overflow_of_16_bits_on_one_device_leaves_out_the_step_on_all(result: Result) -> None:
    assert result["step-two"]["change"] > 0
    assert (result["overflow"]["change"], result["overflow"]["scale"]) == (0, 2**14)
