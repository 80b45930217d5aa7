from __future__ import annotations

from dataclasses import astuple
from typing import Any

import pytest

from app.forecasts.costs import estimate_disk, estimate_memory, estimate_seconds
from app.networks.registry import list_networks
from tests.forecasts.sizes import make_size


@pytest.mark.parametrize("method", ["fine_tune", "linear"])
def test_every_network_that_was_measured_has_a_time_and_each_has_memory_and_disk(method: str) -> None:
    for network in list_networks():
        size = make_size(network.name, method=method)
        seconds = estimate_seconds(size)
        assert seconds is not None, f"{network.name}: measure it with `make bench-networks`"
        assert all(value > 0 for value in astuple(seconds)[2:])
        assert (seconds.steps > 0) == (method == "fine_tune")
        assert estimate_memory(size) > 5e8
        disk = estimate_disk(size)
        assert 0 < disk.kept <= disk.running


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"train": 700}, {"train": 1400}),
        ({"valid": 100}, {"valid": 1000}),
        ({"test": 100}, {"test": 1000}),
        ({"epochs": 5}, {"epochs": 10}),
        ({"freeze_epochs": 9}, {"freeze_epochs": 0}),
        ({"validation_freq": 5}, {"validation_freq": 1}),
        ({"image_size": (128, 128)}, {"image_size": (224, 224)}),
        ({"has_records": True}, {"has_records": False}),
        ({"network": "efficientnet_lite0"}, {"network": "resnet152"}),
        ({"method": "linear"}, {"method": "fine_tune"}),
        ({"method": "linear", "has_features": True}, {"method": "linear", "has_features": False}),
    ],
)
def test_more_to_do_takes_longer(less: dict[str, Any], more: dict[str, Any]) -> None:
    totals = []
    for changes in (less, more):
        seconds = estimate_seconds(make_size(**changes))
        assert seconds is not None
        totals.append(seconds.steps + seconds.rest)
    assert totals[0] < totals[1]


def test_larger_batches_take_memory_and_records_take_disk() -> None:
    assert estimate_memory(make_size(batch_size=64)) > estimate_memory(make_size(batch_size=16)) + 1e9
    fresh, again = (estimate_disk(make_size(has_records=there)) for there in (False, True))
    assert fresh.kept - again.kept == pytest.approx(1000 * 224 * 224 * 3, rel=0.01)
