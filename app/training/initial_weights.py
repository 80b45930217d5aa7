"""What a training starts from: fresh weights, published ones, or those of a model made earlier."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from app.artifacts import KERAS_MODEL, open_artifact
from app.errors import WeightsError
from app.networks import get_network
from app.networks.pretrained.published import load_file, require_published, verify
from app.networks.pretrained.transplant import HEAD
from app.training.spec import TrainingSpec


@dataclass(frozen=True)
class InitialWeights:
    """``digest``: the SHA-256 of what is loaded, from ``path``."""

    digest: str | None = None
    path: Path | None = None
    keeps_head: bool = False

    def load_into(self, model: keras.Model) -> None:
        """Raises WeightsError when they do not fit."""
        if self.path is None:
            return
        if self.path.name == KERAS_MODEL:
            _load_model(model, self.path, with_head=self.keeps_head)
        else:
            load_file(model, self.path)


def find_initial_weights(spec: TrainingSpec, classes: Sequence[str]) -> InitialWeights:
    """What the settings name, verified. Raises WeightsError, ArtifactError."""
    start = spec.hyperparameters.pretrained
    if start == "none":
        return InitialWeights()
    if start == "imagenet":
        weights, path = require_published(spec.network, spec.weights_root)
        return InitialWeights(verify(weights, path), path)
    if spec.initial_model is None:
        raise WeightsError(f"The model {start} is gone, whose weights training should start from.")
    artifact = open_artifact(spec.initial_model, digest=spec.initial_model_digest)
    manifest = artifact.manifest
    if get_network(manifest.network) != get_network(spec.network):
        raise WeightsError(f"The model {start} is a {manifest.network}, not a {spec.network}.")
    keeps_head = tuple(manifest.labels) == tuple(classes)
    return InitialWeights(manifest.weights_sha256, artifact.path(KERAS_MODEL), keeps_head)


def _load_model(model: keras.Model, path: Path, *, with_head: bool) -> None:
    values = _variables(keras.models.load_model(path, compile=False))
    targets = _variables(model)
    if not with_head:
        targets = {name: variable for name, variable in targets.items() if name[0] != HEAD}
    if any(name not in values or values[name].shape != target.shape for name, target in targets.items()):
        raise WeightsError(f"The weights in {path} do not fit a {model.name}.")
    for name, target in targets.items():
        target.assign(np.array(values[name]))


def _variables(model: keras.Model) -> dict[tuple[str, str], Any]:
    return {(layer.name, variable.name): variable for layer in model.layers for variable in layer.weights}
