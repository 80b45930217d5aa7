"""Settings of a training from fresh weights, resolved."""

from __future__ import annotations

from typing import Any

from app.networks import get_network
from app.schemas.hyperparameters import Hyperparameters, ResolvedHyperparameters
from app.training.defaults import resolve_hyperparameters


def make_settings(pretrained: str = "none", **fields: Any) -> ResolvedHyperparameters:
    """Only what is given differs from the defaults for ``tiny_cnn``."""
    network = get_network("tiny_cnn")
    return resolve_hyperparameters(Hyperparameters(**fields), network, pretrained=pretrained, train_items=100)
