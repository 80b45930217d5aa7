"""Models, aliases and networks: what a client gets."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.common import Request, Slug, Timestamp
from app.schemas.model_formats import MadeFormat


class ModelExportCreate(Request):
    """A form of the model that a worker has to make."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"format": "onnx"}]})

    format: MadeFormat = Field(description="onnx: for ONNX Runtime and others; saved_model: for TensorFlow.")


class ExportParity(BaseModel):
    """How far the file's answers are from the served model's."""

    items: int = Field(description="Made-up images that both were asked about.")
    labels_equal: int = Field(description="How many of them got the same label from both.")
    max_probability_difference: float


class ModelExport(BaseModel):
    """A form of the model that a worker has made: `GET /models/{model}/artifact?format=…`."""

    format: str
    bytes: int
    sha256: str
    parity: ExportParity
    versions: dict[str, str] = Field(description="Versions of the libraries that made it.")
    job: str = Field(description="The job that made it, which may be deleted.")
    created_at: Timestamp


class StoredExport(ModelExport):
    """The same in the model's row. ``folder``: of the home folder; ``file``: the one in it."""

    folder: str
    file: str


class ModelOrigin(BaseModel):
    """The model of another Loupe that was imported. All but the last two is what its zip says."""

    artifact_digest: str = Field(description="Digest of its artifact there.")
    model: str
    product: str
    version: int
    dataset_digest: str = Field(description="Digest of the dataset that it was trained on.")
    trained_at: str
    key: str | None = Field(description="Id of the key that imported it; null where none was asked for.")
    imported_at: Timestamp


class Calibration(BaseModel):
    """How the served probabilities came about."""

    method: str
    temperature: float = Field(description="What the logits are divided by; 1 where no other was better.")
    split: str
    items: int
    log_loss: float = Field(description="Of images that the fit did not see, in nats.")
    log_loss_before: float


class Threshold(BaseModel):
    """Answers above `probability` are accepted: at 95 % confidence at most `max_error` are wrong."""

    max_error: float
    probability: float
    coverage: float = Field(description="Share of the validation images that are accepted.")
    images: float = Field(description="Accepted validation images; those that show the same thing are one.")
    errors: float


class ModelPromise(BaseModel):
    """What the model makes of its product's promise."""

    max_error: float = Field(description="What the product asks for.")
    promised: float | None = Field(
        description="What holds for accepted answers: the same or less, or more where the validation images "
        "are too few; null where they can promise nothing."
    )
    probability: float = Field(description="Answers are accepted above it.")
    similarity: float | None = Field(description="Images less similar to all training images are rejected.")
    coverage: float = Field(description="Share of the validation images that are accepted.")
    images_needed: int | None = Field(
        description="Accepted validation images without an error that it takes to promise what the product "
        "asks for; null where it is promised."
    )
    thresholds: list[Threshold] = Field(description="What else could be promised.")


class Model(BaseModel):
    id: str
    product: str
    version: int = Field(description="Counts the models of a product from 1.")
    job: str = Field(description="The training that made it, or the import of another Loupe's model.")
    dataset: str | None = Field(description="What it was trained on; null for a model that was imported.")
    network: str
    labels: list[str] = Field(description="Classes in the order of the model's outputs.")
    aliases: list[str]
    passed_gate: bool = Field(
        description="Whether it reached its job's least accuracy. One that did not is kept for a while, to "
        "look at and to promote by hand."
    )
    digest: str = Field(
        description="Digest of the artifact's manifest, which holds that of each of its files."
    )
    weights_sha256: str = Field(
        description="SHA-256 over all weight bytes in the order of the network's variables."
    )
    bytes: int
    metrics: dict[str, Any] = Field(
        description="Metrics on the untouched test split, measured through the served path; of a model that "
        "was imported they were measured where it comes from."
    )
    serving: dict[str, Any]
    calibration: Calibration | None = Field(
        description="Null: it was made by an older Loupe, and its probabilities are the network's own."
    )
    promise: ModelPromise | None = Field(
        description="Null: it was made by an older Loupe, and its predictions have no decision."
    )
    exports: list[ModelExport] = Field(description="Other forms of it that are ready to download.")
    origin: ModelOrigin | None = Field(description="Where it was imported from; null if trained here.")
    created_at: Timestamp


class Alias(BaseModel):
    name: str
    product: str
    model: str
    moved_at: Timestamp


class AliasMoveCreate(Request):
    """Where an alias is to point."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "model": "mdl_01m86yjpsaj8v1vqm563dstvg0",
                    "reason": "Looked at by hand: the test set is odd.",
                }
            ]
        }
    )

    model: str = Field(description="Id of a model of the product.")
    reason: str | None = Field(None, max_length=2000, description="Why, for the history.")
    override: bool = Field(
        False, description="Take the model although it failed its gate; the history records that."
    )


class RollbackCreate(Request):
    """Which alias goes back to the model that it pointed at before."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"reason": "Too many rejects on line 2."}, {}]})

    alias: Slug = Field("champion", description="Name of the alias.")
    reason: str | None = Field(None, max_length=2000, description="Why, for the history.")


class AliasMove(BaseModel):
    """One move of an alias."""

    id: str
    from_model: str | None = Field(description="Null where the alias was made. The model may be gone.")
    to_model: str | None = Field(description="Null where the alias was removed. The model may be gone.")
    moved_by: str | None = Field(description="The job whose end moved it; null where a client asked for it.")
    reason: str | None
    is_override: bool = Field(description="Whether the model was taken although it failed its gate.")
    is_rollback: bool = Field(description="Whether it went back to the model before.")
    moved_at: Timestamp


class NetworkWeights(BaseModel):
    """Published ImageNet weights to fine-tune from."""

    source: str
    licence: str
    top1: float = Field(description="Published accuracy on ImageNet's validation set, in percent.")
    is_here: bool = Field(description="Whether this Loupe has them; else `loupe weights download` gets them.")


class NetworkSpeed(BaseModel):
    """Milliseconds an image at the default size; `make bench-networks` measures those of another machine."""

    training_ms: float = Field(description="A whole training step on all cores, divided by its images.")
    serving_ms: float = Field(description="One image at a time on one thread.")
    machine: str


class Network(BaseModel):
    name: str
    family: str
    image_size: int = Field(description="Default height and width in pixels.")
    min_image_size: int
    parameters: int = Field(description="Trainable parameters at 1,000 classes.")
    macs: int = Field(
        description="Multiply-accumulates of convolutions and dense layers at the default size."
    )
    bytes: int = Field(description="Size of the weights in float32 at 1,000 classes.")
    weights: NetworkWeights | None = Field(description="Null where none are published.")
    speed: NetworkSpeed | None = Field(description="Null where it was not measured.")
    paper: str
    paper_url: str
    aliases: list[str]
