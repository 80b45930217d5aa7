"""The manifest of an artifact: what the model is, where it comes from, how it is served."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from app.errors import ArtifactError
from app.host.files import FileDigest
from app.schemas.message import explain_invalid

FORMAT_VERSION = 1
MANIFEST = "manifest.json"
SECTIONS = (
    *("evaluation_dataset_digest", "class_map", "input", "runtimes", "outputs", "calibration", "decision"),
    *("reference_features", "origin"),
)
"""What a manifest may lack."""

_HINT = "Restore the folder from a backup, or train the model again."


@dataclass(frozen=True)
class Serving:
    """What answers predictions: the runtime, its number format, the model's size in bytes.

    ``parity`` says how far its answers are from the trained network's, or is None until it was measured.
    ``milliseconds``: for one image on one thread, on the machine that trained it; None where not measured.
    """

    runtime: Literal["litert"]
    precision: str
    bytes: int
    parity: Mapping[str, Any] | None = None
    milliseconds: float | None = None


@dataclass(frozen=True)
class Input:
    """From a file to the model's input. ``resize_rule``: name and version, see ``app.images.resize``.

    ``pixel_range``: the 16-bit grey values that become 0 and 255; None: 0 and 65,535.
    """

    resize_rule: str
    pixel_range: tuple[int, int] | None = None


@dataclass(frozen=True)
class Runtime:
    """One way to run the model: with what, in which number format, from which file.

    ``parity``: how far its answers to the test split are from the trained network's.
    """

    runtime: str
    precision: str
    file: str
    parity: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Output:
    """One output of the model, in the order of its tensors; ``size`` is its length for one image.

    ``features``: what the classifier sees. ``feature_maps``: of the ``shape`` (rows, columns, channels), of
    whose places the features are the mean; a network that makes them otherwise has none.
    """

    kind: Literal["probabilities", "features", "feature_maps"]
    size: int
    shape: tuple[int, int, int] | None = None

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        return (1, *(self.shape or (self.size,)))


@dataclass(frozen=True)
class Calibration:
    """How raw probabilities became served ones, fitted on ``items`` images of ``split``.

    The model's files have it in them: nothing is left to apply. ``log_loss``: the mean of the served
    probabilities on images that the fit did not see, in nats; ``log_loss_before``: of the raw ones.
    """

    method: Literal["temperature"]
    temperature: float
    split: str
    items: int
    log_loss: float
    log_loss_before: float


@dataclass(frozen=True)
class Threshold:
    """Answers of a probability above ``probability`` are accepted: at most ``max_error`` of these are wrong.

    What it rests on: ``images`` answers of the split that a threshold chosen without them accepted,
    ``errors`` of them wrongly. Images that show the same thing count as one, so neither need be whole.
    ``coverage``: the share of the split's images that are accepted.
    """

    max_error: float
    probability: float
    coverage: float
    images: float
    errors: float


@dataclass(frozen=True)
class Decision:
    """When an answer is accepted. ``thresholds``: by rising ``max_error``, those that can be promised.

    Fitted on ``items`` images of ``split``, which had chosen from ``tried`` models. ``similarity``: the least
    one to the nearest of the reference features; the share ``lost`` of the split's own images is below.
    """

    confidence_level: float
    split: str
    items: int
    tried: int
    thresholds: tuple[Threshold, ...]
    similarity: float | None = None
    lost: float | None = None


@dataclass(frozen=True)
class ReferenceFeatures:
    """Features of training images, by which others are judged: ``items`` rows of ``dimensions``."""

    file: str
    items: int
    dimensions: int
    dtype: str


@dataclass(frozen=True)
class Origin:
    """The model of another Loupe that this one was imported from; the digest is of its artifact there."""

    artifact_digest: str
    model: str
    product: str
    version: int


@dataclass(frozen=True)
class Manifest:
    """What one needs to know to use a model, and where it comes from.

    ``image_size`` is (height, width) in pixels; ``labels`` are in the order of the model's outputs;
    ``resize_rule`` names the rule of ``app.images.resize`` that made the training images.
    ``evaluation_dataset_digest``: of the dataset that ``metrics`` were measured on; None: on the test split.
    ``class_map``: which classes of the dataset were learned, and how they were called there; None: all.
    ``origin``: None for a model that was trained where it is.
    The sections from ``input`` to ``reference_features`` may be absent: then they were not measured, and
    what ``resize_rule`` and ``serving`` say holds. Artifacts of the first release have none of them.
    ``files`` maps a path relative to the folder to its digest and is filled in by ``write_artifact``.
    """

    network: str
    image_size: tuple[int, int]
    labels: tuple[str, ...]
    resize_rule: str
    dataset_digest: str
    split_digest: str | None
    hyperparameters: Mapping[str, Any]
    seed: int
    best_epoch: int
    metrics: Mapping[str, Any]
    weights_sha256: str
    serving: Serving
    versions: Mapping[str, str]
    created_at: str
    evaluation_dataset_digest: str | None = None
    class_map: Mapping[str, Any] | None = None
    input: Input | None = None
    runtimes: tuple[Runtime, ...] | None = None
    outputs: tuple[Output, ...] | None = None
    calibration: Calibration | None = None
    decision: Decision | None = None
    reference_features: ReferenceFeatures | None = None
    origin: Origin | None = None
    files: Mapping[str, FileDigest] = field(default_factory=dict)
    format_version: int = FORMAT_VERSION

    def with_parity(self, figures: Mapping[str, Any]) -> Manifest:
        """The same, with what a comparison of the served model with another measured."""
        (runtime,) = self.runtimes or ()
        return replace(
            self,
            serving=replace(self.serving, parity=figures),
            runtimes=(replace(runtime, parity=figures),),
        )

    def to_json(self) -> bytes:
        """UTF-8 JSON, the content of ``manifest.json``. Raises ValueError for NaN and infinities."""
        fields = asdict(self)
        absent = [name for name in SECTIONS if fields[name] is None]
        kept = {name: value for name, value in fields.items() if name not in absent}
        value = {"format_version": self.format_version, **kept}
        return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()

    @classmethod
    def from_json(cls, data: bytes) -> Manifest:
        """Parses and checks a manifest. Keys it does not know are ignored. Raises ArtifactError."""
        try:
            manifest = _ADAPTER.validate_json(data)
        except ValidationError as error:
            raise ArtifactError(explain_invalid(MANIFEST, error), hint=_HINT) from None
        manifest._check()
        return manifest

    def _check(self) -> None:
        if self.format_version != FORMAT_VERSION:
            raise ArtifactError(
                f"The artifact has format version {self.format_version}; this Loupe reads {FORMAT_VERSION}.",
                hint="Use the version of Loupe that wrote the model, or train it again.",
            )
        if not self.labels or len(set(self.labels)) != len(self.labels):
            raise ArtifactError(f"{MANIFEST} must name every label once, and at least one.", hint=_HINT)
        if min(self.image_size) < 1:
            raise ArtifactError(f"{MANIFEST} has the image size {self.image_size}.", hint=_HINT)
        for name in self.files:
            _check_name(name)
        if self.input is not None and self.input.resize_rule != self.resize_rule:
            raise ArtifactError(f"{MANIFEST} names two resize rules.", hint=_HINT)
        if self.input is not None and self.input.pixel_range is not None:
            low, high = self.input.pixel_range
            if not 0 <= low < high <= 65535:
                raise ArtifactError(f"{MANIFEST} has the pixel range {low} to {high}.", hint=_HINT)


_ADAPTER = TypeAdapter(Manifest)


def _check_name(name: str) -> None:
    path = PurePosixPath(name)
    leads_out = path.is_absolute() or ".." in path.parts or any(mark in name for mark in "\\\0")
    if name in ("", MANIFEST) or leads_out:
        raise ArtifactError(
            f"{MANIFEST} lists the file {name!r}, which may not be part of an artifact.", hint=_HINT
        )
