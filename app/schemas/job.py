"""Jobs: what a client sends and gets."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, WithJsonSchema, model_validator

from app.schemas.class_map import ClassMap
from app.schemas.common import Problem, Request, Slug, Timestamp
from app.schemas.forecast import Forecast
from app.schemas.gate import GateResult, GateRules
from app.schemas.hyperparameters import Hyperparameters, SplitSettings
from app.schemas.import_choices import ClassLevel, GroupBy, Labels, NameEncoding
from app.schemas.job_kinds import JOB_KINDS, JobStage

Device = Literal["auto", "cpu", "gpu"]
JobStatus = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]


def _check_kind(name: str) -> str:
    if name not in JOB_KINDS:
        raise ValueError(f"there is no kind {name!r}; there are: {', '.join(JOB_KINDS)}")
    return name


JobKind = Annotated[
    str, AfterValidator(_check_kind), WithJsonSchema({"type": "string", "enum": list(JOB_KINDS)})
]
"""A kind that this release knows; a job may be of a newer one."""
EarlyEnd = Literal["budget_reached", "pruned"]
"""Why a sweep ends a training early: its time is over, or others did better."""
StopReason = Literal["completed", "early_stopped", "stopped_by_user", "budget_reached", "pruned"]


class TrainingCreate(Request):
    """What trainings to run have in common, whichever networks they train."""

    product: Slug
    dataset: str | None = Field(
        None,
        description="Id of a dataset of the product; the job waits while it is importing. If not given, the "
        "newest that is ready and can be trained on; without one the newest that is ready, else the newest "
        "that is importing.",
    )
    evaluation_dataset: str | None = Field(
        None,
        description="Id of a dataset of the product that is ready: the final test is measured on all its "
        "images in place of the test split, whose share may then be 0. Refused if train or valid has one of "
        "its images.",
    )
    device: Device = Field(
        "auto",
        description="What to train on. auto: a GPU if the worker that takes the job has one, else its "
        "processor. gpu: the job waits until a worker has one. cpu: the processor.",
    )
    gpus: int = Field(
        1,
        ge=1,
        le=64,
        description="GPUs of one machine to divide each batch among; more than one means device gpu.",
    )
    hyperparameters: Hyperparameters = Field(default_factory=Hyperparameters)
    split: SplitSettings = Field(default_factory=SplitSettings)
    class_map: ClassMap | None = Field(
        None,
        description="Which classes the training learns. It belongs to the job and its model: evaluations of "
        "the model apply it too. Null: all of the dataset.",
    )
    gate: GateRules = Field(default_factory=lambda: GateRules(min_accuracy=None))
    metadata: dict[str, Annotated[str, Field(max_length=1000)]] = Field(
        default_factory=dict, max_length=50, description="Your own notes, given back as they are."
    )

    @model_validator(mode="after")
    def _several_gpus_are_gpus(self) -> Self:
        if self.gpus > 1 and self.device == "cpu":
            raise ValueError(f"gpus is {self.gpus}, but device is cpu")
        if self.gpus > 1:
            self.device = "gpu"
        return self

    @model_validator(mode="after")
    def _something_to_test_on(self) -> Self:
        if self.split.test == 0 and self.evaluation_dataset is None:
            raise ValueError(
                "split.test is 0, so no image is left to test on: give it a share, or name an "
                "evaluation_dataset"
            )
        return self

    @model_validator(mode="after")
    def _one_least_accuracy(self) -> Self:
        """It may be given as a setting or as a rule of the gate; both mean the same."""
        asked, setting = self.gate.min_accuracy, self.hyperparameters.min_accuracy
        if asked is None:
            return self
        if setting is not None and setting != asked:
            raise ValueError(
                f"gate.min_accuracy is {asked:g}, but hyperparameters.min_accuracy is {setting:g}: give one"
            )
        self.hyperparameters = self.hyperparameters.model_copy(update={"min_accuracy": asked})
        return self


class JobCreate(TrainingCreate):
    """A training to run. Everything but the product has a default."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"product": "steel-strip", "network": "mobilenet_v2", "hyperparameters": {"epochs": 20}},
                {"product": "steel-strip", "gate": {"min_accuracy": 0.95, "on_failure": "discard"}},
                {"product": "steel-strip"},
            ]
        }
    )

    network: str | None = Field(
        None,
        description="Name of a network, see `GET /networks`; the product's default if not given, else "
        "efficientnet_lite0 where its ImageNet weights are on the server, else mobilenet_v2.",
    )


class JobRetry(Request):
    """Where a new attempt begins, and what an import that failed with `choice_needed` asked."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"start": "checkpoint"}]})

    start: Literal["checkpoint", "beginning"] = Field(
        "checkpoint", description="The last checkpoint, or step 0 again."
    )
    name_encoding: NameEncoding | None = None
    class_level: ClassLevel | None = None
    group_by: GroupBy | None = None
    labels: Labels | None = None


class Progress(BaseModel):
    epoch: int | None = Field(None, description="Epoch under way, from 1.")
    epochs: int | None = None
    step: int | None = Field(None, description="Training steps done over all epochs.")
    steps: int | None = None
    done: int | None = Field(None, description="Images done in this stage, if it counts images.")
    total: int | None = None
    fraction: float = Field(
        0.0, ge=0, le=1, description="Share of the work that is done; of a training, of its steps."
    )
    images_per_second: float | None = None
    eta_seconds: float | None = Field(None, description="Estimated time to the end of the work.")


class BestEpoch(BaseModel):
    epoch: int
    metric: str
    value: float


class RanOn(BaseModel):
    """What a training computed on when it last started."""

    device: Literal["cpu", "gpu"]
    names: list[str] = Field(description="The processor's name, or one of each GPU.")


class JobDataset(BaseModel):
    id: str
    digest: str | None


class Job(BaseModel):
    id: str
    kind: str = Field(description=f"One of {', '.join(JOB_KINDS)}, or a kind of a newer release.")
    status: JobStatus
    stage: str | None = Field(
        description=f"What it does now: {', '.join(get_args(JobStage))}, or a stage of a newer release."
    )
    stop_reason: str | None = Field(
        description=f"Why a training ended: {', '.join(get_args(StopReason))}, or what a newer release says."
    )
    product: str
    dataset: JobDataset | None = Field(description="Null for kinds of job that have none.")
    evaluation_dataset: JobDataset | None = Field(
        None,
        description="What a training's final test is measured on; null: the test split. Its digest is null "
        "once it was deleted.",
    )
    network: str | None
    sweep: str | None = Field(
        None, description="The sweep of which it is a candidate, which decides how far it trains."
    )
    hyperparameters: dict[str, Any] | None = Field(
        description="Every setting, resolved. Until its dataset is imported and the job started, those that "
        "depend on the number of images are null."
    )
    split: dict[str, Any] | None = Field(
        description="Settings of the split, and in `counts` the images in each part: null until the "
        "dataset is imported and the job started."
    )
    class_map: ClassMap | None = Field(None, description="Which classes a training learns; null: all.")
    seed: int | None
    device: Device = Field(description="What the job asks for.")
    gpus: int = Field(description="GPUs that it asks for, if it runs on any.")
    ran_on: RanOn | None = Field(description="What a training computes or computed on, once it has begun.")
    waits_for: str | None = Field(
        description="What a job that is queued or rests lacks: its dataset, which is importing, a worker, a "
        "GPU, or the word of its sweep. Null where only its turn has to come."
    )
    place: int | None = Field(
        None,
        description="Of a queued job: which it is among those of its queue that could start, from 1. Null "
        "for all others.",
    )
    progress: Progress
    best: BestEpoch | None
    model: str | None = Field(
        description="The model that came out, also one that failed its gate and is kept; null until then, "
        "and where none was saved or it was removed."
    )
    gate_rules: GateRules | None = Field(description="What the model must reach. Null for other jobs.")
    gate: GateResult | None = Field(description="What the gate decided; null until then.")
    error: Problem | None
    attempt: int = Field(description="How often a worker has taken the job up.")
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    metadata: dict[str, str]


class JobPlan(BaseModel):
    """What a dry run would start."""

    product: str
    dataset: JobDataset
    evaluation_dataset: JobDataset | None = None
    network: str
    hyperparameters: dict[str, Any]
    split: dict[str, Any]
    class_map: ClassMap | None = None
    gate_rules: GateRules
    seed: int
    device: Device
    gpus: int
    warnings: list[str] = Field(
        default_factory=list,
        description="What the training will do otherwise than you may think; also the first `warning` events "
        "of a job.",
    )
    forecast: Forecast | None = Field(
        None, description="What it would take and bring; null where that was not asked for."
    )


class JobEvent(BaseModel):
    number: int = Field(description="Position in the job's events, from 1, without gaps.")
    type: str
    data: dict[str, Any]
    created_at: Timestamp


class StepPoint(BaseModel):
    step: int
    epoch: int
    loss: float
    accuracy: float
    learning_rate: float
    images_per_second: float | None


class EpochPoint(BaseModel):
    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    valid_loss: float | None
    valid_accuracy: float | None
    learning_rate: float
    seconds: float
    is_best: bool = Field(description="Whether this epoch was the best when it ended.")


class JobMetrics(BaseModel):
    """The series of a training so far; empty while it is queued."""

    job: str
    status: JobStatus
    epochs: list[EpochPoint]
    steps: list[StepPoint]
    best: BestEpoch | None
    test: dict[str, Any] | None = Field(description="Metrics of the final test, once evaluated.")
    ignore_groups: bool = Field(
        description="Whether the split may divide images that belong together or show the same thing: the "
        "figures may then be too high."
    )
    last_step: int = Field(description="Give it as `since` to get only what is newer.")


class LogFile(BaseModel):
    name: str
    bytes: int
