"""Sweeps: what a client sends and gets."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.schemas.class_map import ClassMap
from app.schemas.common import Estimate, Problem, Timestamp
from app.schemas.gate import GateRules
from app.schemas.hyperparameters import Hyperparameters
from app.schemas.job import Device, JobDataset, JobStatus, TrainingCreate
from app.schemas.numbers import MOST, refuse_truth_value

SweepStatus = Literal["running", "succeeded", "failed", "cancelled"]
MOST_CANDIDATES = 100

Limit = Annotated[float, Field(gt=0, le=MOST), BeforeValidator(refuse_truth_value)]


class SweepCreate(TrainingCreate):
    """Many trainings on one split, the best of which becomes a model.

    Say which networks: by name, all, or those that fit a limit.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"product": "steel-strip", "networks": ["mobilenet_v2", "efficientnet_lite0", "resnet18"]},
                {"product": "steel-strip", "budget_seconds": 7200, "max_milliseconds": 10},
                {
                    "product": "steel-strip",
                    "networks": ["mobilenet_v2"],
                    "grid": {"learning_rate": [0.001, 0.003], "augmentation": ["light", "strong"]},
                },
            ]
        }
    )

    networks: (
        Literal["all"] | Annotated[list[str], Field(min_length=1, max_length=MOST_CANDIDATES)] | None
    ) = Field(
        None,
        description="Names of networks, see `GET /networks`, or all. If not given, those that fit the "
        "limits below.",
    )
    grid: dict[str, Annotated[list[Any], Field(min_length=1, max_length=MOST_CANDIDATES)]] = Field(
        default_factory=dict,
        description="Hyperparameters with several values to try: every combination, with every network.",
        examples=[{"learning_rate": [0.001, 0.003]}],
    )
    budget_seconds: Limit | None = Field(
        None,
        description="Time for the whole sweep from the start of its first training. Only as many networks "
        "are tried as it is enough for by their measured costs; when it runs out, the best so far wins.",
    )
    max_milliseconds: Limit | None = Field(
        None,
        description="Only networks that answer in so many milliseconds an image, see `GET /networks`.",
    )
    max_bytes: int | None = Field(
        None,
        gt=0,
        le=2**53,
        description="Only networks whose weights take so many bytes, see `GET /networks`.",
    )
    keep: Literal["winner", "all"] = Field(
        "winner",
        description="winner: only the best by validation becomes a model and is tested. all: the others "
        "become models too, from their best epoch so far; the ranking stays that by validation, and only the "
        "winner may become champion.",
    )

    @model_validator(mode="after")
    def _says_which(self) -> Self:
        if self.networks is None and not self.limits:
            raise ValueError(
                'say which networks: networks (names or "all"), budget_seconds, max_milliseconds or max_bytes'
            )
        return self

    @model_validator(mode="after")
    def _grid_is_of_settings(self) -> Self:
        unknown = sorted(set(self.grid) - set(Hyperparameters.model_fields))
        if unknown:
            known = ", ".join(Hyperparameters.model_fields)
            raise ValueError(f"grid names no hyperparameter: {', '.join(unknown)}; there are: {known}")
        twice = sorted(set(self.grid) & self.hyperparameters.model_fields_set)
        if twice:
            raise ValueError(f"given both in grid and in hyperparameters: {', '.join(twice)}")
        return self

    @property
    def limits(self) -> list[str]:
        """The limits that are given."""
        names = ("budget_seconds", "max_milliseconds", "max_bytes")
        return [name for name in names if getattr(self, name) is not None]


class SweepCandidate(BaseModel):
    """One training of a sweep."""

    network: str
    settings: dict[str, Any] = Field(description="Where it differs from the others beside the network.")
    job: str = Field(description="The training. It may have been deleted since the sweep ended.")
    job_status: JobStatus | None = Field(description="Of the job; null once it was deleted.")
    standing: Literal["racing", "won", "lost", "failed", "cancelled"]
    reason: str | None = Field(description="Why it is not racing any more.")
    place: int | None = Field(description="Place by validation; null before its first validation.")
    accuracy: Estimate | None = Field(
        description="Validation accuracy of its best epoch, with the 95 % interval that the number of "
        "validation images allows. The best of many is flattered by chance; the winner's test is not."
    )
    loss: float | None = Field(description="Validation loss of that epoch.")
    best_epoch: int | None
    epoch: int = Field(description="Epochs trained.")
    epochs: int = Field(description="Epochs of the whole training.")
    rungs: list[int] = Field(description="Epochs at which it is compared with the others.")
    milliseconds: float | None = Field(
        description="For one prediction, on one thread: of its model, or the registry's for the network."
    )
    is_timed: bool = Field(description="Whether `milliseconds` were measured of its model.")
    bytes: int = Field(
        description="Of its model's served file; where `model` is null, the registry's for the weights."
    )
    on_front: bool = Field(
        description="Whether no other is at least as accurate and as fast, and better in one of the two; by "
        "the registry's milliseconds, which are of one machine."
    )
    seconds: float = Field(description="Time that workers have spent on it.")
    model: str | None
    test_accuracy: float | None = Field(description="Of the model, if there is one.")


class SkippedNetwork(BaseModel):
    network: str
    reason: str


class SweepEvent(BaseModel):
    at: Timestamp
    type: str
    detail: str


class Sweep(BaseModel):
    id: str
    status: SweepStatus
    product: str
    dataset: JobDataset
    evaluation_dataset: str | None
    split: dict[str, Any] = Field(description="The one split of all candidates.")
    class_map: ClassMap | None
    gate_rules: GateRules
    device: Device
    gpus: int
    keep: Literal["winner", "all"]
    monitor: str = Field(description="The figure of the validation that ranks.")
    cut: int = Field(description="How often about half of the candidates have left.")
    cuts: int = Field(description="How often they do.")
    budget_seconds: float | None
    estimated_seconds: float | None = Field(
        description="By the networks' measured costs on the machine of `GET /networks`, with one worker."
    )
    seconds: float | None = Field(description="Since its first training started; null before.")
    winner: str | None = Field(description="Job of the winner, once it is chosen.")
    model: str | None = Field(description="The winner's model, once it is there and if its gate kept it.")
    candidates: list[SweepCandidate] = Field(description="Best first.")
    skipped: list[SkippedNetwork] = Field(description="Networks that were not tried.")
    events: list[SweepEvent]
    error: Problem | None
    metadata: dict[str, str]
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
