"""What one training run is asked to do, parsed from spec.json, and the digests by which a resume knows it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked_dataclass

from app.datasets.manifest import DatasetManifest
from app.errors import DatasetError, InvalidRequestError
from app.images.resize import FIRST_RULE, ResizeRule, get_rule
from app.networks import get_network
from app.schemas.class_map import ClassMap
from app.schemas.hyperparameters import ResolvedHyperparameters
from app.schemas.job import EarlyEnd
from app.schemas.message import explain_invalid
from app.schemas.product import MAX_ERROR

WEIGHTS_ROOT = Path("weights")
"""Of a spec that names none."""


@checked_dataclass(frozen=True)
class Devices:
    """``count`` GPUs to divide each batch among, or the processor.

    Where a GPU is expected and there is none, training goes on on the processor unless ``is_required``.
    """

    kind: Literal["cpu", "gpu"]
    count: int = 1
    is_required: bool = False


@checked_dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class TrainingSpec:
    """The content of spec.json. Its settings are resolved; see ``handwritten.resolve_spec`` for others.

    ``dataset``: folder with manifest.json. ``split``: JSON file, item id to train, valid or test.
    ``evaluation_dataset``: folder of the dataset that the final test is measured on; None: the test split.
    ``class_map``: which of the dataset's classes are learned; None: all.
    ``records_root``: where records are cached. ``checkpoint_root``: a folder of this attempt alone.
    ``resume_from``: checkpoints of earlier attempts or the folders that hold them, the newest attempt first.
    ``reported_step``: the last step that the caller knows of; a resume reports those after it again.
    ``weights_root``: where published weights are kept. ``initial_model``: artifact of the model that
    ``pretrained`` names, of that ``initial_model_digest`` where it is known. ``devices``: what to compute on;
    None: one GPU if there is one. ``logs``, ``out``: where the log files and the artifact go. ``resize``: the
    name of the resize rule; None: the first one, which trainings had that name none. ``extractor``: the
    folder of what gives feature vectors, if there is one. ``max_error``: what the product promises.
    ``until_epoch``: the epoch after whose validation the run leaves, to be continued or not; with ``ends_as``
    it ends there, for that reason, with the best epoch so far. ``tried_elsewhere``: how many networks of
    other trainings the validation images have chosen from too.
    """

    job_id: str
    product: str
    network: str
    hyperparameters: ResolvedHyperparameters
    dataset: Path
    image_root: Path
    split: Path
    records_root: Path
    checkpoint_root: Path
    logs: Path
    out: Path
    evaluation_dataset: Path | None = None
    class_map: ClassMap | None = None
    weights_root: Path = WEIGHTS_ROOT
    initial_model: Path | None = None
    initial_model_digest: str | None = None
    devices: Devices | None = None
    resume_from: tuple[Path, ...] = ()
    reported_step: int | None = None
    checkpoint_seconds: float = 60.0
    resize: str | None = None
    extractor: Path | None = None
    max_error: float = MAX_ERROR
    until_epoch: int | None = None
    ends_as: EarlyEnd | None = None
    tried_elsewhere: int = 0

    @property
    def resize_rule(self) -> ResizeRule:
        """Raises ArtifactError for the rule of a newer version."""
        return FIRST_RULE if self.resize is None else get_rule(self.resize)

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.hyperparameters.image_sides


_ADAPTER = TypeAdapter(TrainingSpec)


def parse_spec(value: Mapping[str, Any]) -> TrainingSpec:
    """Raises InvalidRequestError that names the first field that is missing or wrong."""
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        raise InvalidRequestError(explain_invalid("spec.json", error)) from None


def load_split(path: Path, manifest: DatasetManifest, *, needs_test: bool = True) -> dict[str, list[int]]:
    """The positions of each split's items in the manifest. Raises DatasetError when a split is empty.

    ``needs_test``: whether test may not be empty either.
    """
    assigned: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    positions: dict[str, list[int]] = {"train": [], "valid": [], "test": []}
    for position, item in enumerate(manifest.items):
        if item.id in assigned:
            positions[assigned[item.id]].append(position)
    for name, members in positions.items():
        if not members and (needs_test or name != "test"):
            raise DatasetError(
                f"The {name} split has no images.", hint="Add images, or give this split a larger share."
            )
    return positions


@dataclass(frozen=True)
class Identity:
    """What a checkpoint must agree with to be continued at all: digests, and classes in label order."""

    configuration: str
    dataset: str
    split: str
    classes: tuple[str, ...]

    @classmethod
    def of(
        cls,
        spec: TrainingSpec,
        manifest: DatasetManifest,
        split: Mapping[str, list[int]],
        initial_weights: str | None,
    ) -> Identity:
        """``initial_weights``: their digest; None when they are drawn from the seed."""
        configuration = {
            "network": get_network(spec.network).name,
            "image_size": spec.image_size,
            # No part of the training itself: a retry may judge the same weights by another gate, and only one
            # method has checkpoints.
            "hyperparameters": spec.hyperparameters.model_dump(
                mode="json", exclude={"min_accuracy", "resize", "method"}
            ),
            "initial_weights": initial_weights,
        }
        if spec.resize_rule != FIRST_RULE:  # checkpoints that name none go on being continued
            configuration["resize_rule"] = spec.resize_rule.name
        membership = {name: [manifest.items[p].id for p in members] for name, members in split.items()}
        return cls(_digest(configuration), manifest.digest, _digest(membership), manifest.classes)

    def differences(self, other: Mapping[str, Any]) -> list[str]:
        """Names of the fields in which a checkpoint's identity differs from this one."""
        own = {**vars(self), "classes": list(self.classes)}
        return [name for name, value in own.items() if other.get(name) != value]

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "classes": list(self.classes)}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
