"""A spec that no job made: its settings resolved as they are for one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.artifacts import open_artifact
from app.datasets.class_map import apply_class_map
from app.datasets.manifest import load_manifest
from app.images.resize import rule_for
from app.networks import get_network
from app.schemas.class_map import ClassMap
from app.schemas.hyperparameters import Hyperparameters
from app.training.defaults import default_start, resolve_hyperparameters
from app.training.spec import WEIGHTS_ROOT, load_split


def resolve_spec(value: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with a value for every setting that it leaves out."""
    given = Hyperparameters(**value.get("hyperparameters", {}))
    given_map = value.get("class_map")
    class_map = None if given_map is None else ClassMap.model_validate(given_map)
    manifest = apply_class_map(load_manifest(Path(value["dataset"])), class_map)
    network = get_network(value["network"])
    initial_model = value.get("initial_model")
    settings = resolve_hyperparameters(
        given,
        network,
        pretrained=default_start(network.name, Path(value.get("weights_root", WEIGHTS_ROOT))),
        train_items=len(load_split(Path(value["split"]), manifest, needs_test=False)["train"]),
        keeps_head=initial_model is not None
        and tuple(open_artifact(Path(initial_model)).manifest.labels) == manifest.classes,
    )
    rule = rule_for(settings.resize).name
    return {"resize": rule, **value, "hyperparameters": settings.model_dump(mode="json")}
