"""Trainings to forecast."""

from __future__ import annotations

from typing import Any

from app.forecasts.costs import Size
from app.networks.registry import get_network


def make_size(network: str = "efficientnet_lite0", **changes: Any) -> Size:
    spec = get_network(network)
    side = spec.image_size
    usual: dict[str, Any] = {
        "method": "fine_tune",
        "image_size": (side, side),
        "batch_size": 32,
        "train": 700,
        "valid": 150,
        "test": 150,
        "epochs": 10,
        "freeze_epochs": 1,
    }
    return Size(network=spec, **{**usual, **changes})
