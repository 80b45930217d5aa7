"""What a child reports while it works: one JSON object a line, told apart by ``kind``.

A line may have keys that this version does not know: they go into the job's event as they are. A line of an
unknown kind is refused by ``parse_line``; its reader logs it.
"""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from app.schemas.job_kinds import JobStage


class Line(BaseModel):
    """``time``: when it was written, in seconds since 1970 by the child's clock."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, serialize_by_alias=True)

    time: float = Field(default_factory=lambda: round(time.time(), 3))

    def as_event(self) -> dict[str, Any]:
        """The data of the event that the job gets."""
        return self.model_dump(mode="json", exclude={"kind", "time"})


class StageLine(Line):
    kind: Literal["stage"] = "stage"
    stage: JobStage


class AliveLine(Line):
    """Nothing new, but the work goes well: long work without other lines is no stall."""

    kind: Literal["alive"] = "alive"


class ProgressLine(Line):
    """``done`` of ``total`` images of the stage; ``fraction`` of the whole job, None where not known.

    ``images_per_second`` and ``eta_seconds``: None of a stage that does not measure them.
    """

    kind: Literal["progress"] = "progress"
    done: int
    total: int | None
    fraction: float | None = None
    images_per_second: float | None = None
    eta_seconds: float | None = None


class PlanLine(Line):
    """What a training will do, and the step that it begins after: series past it are made anew."""

    kind: Literal["plan"] = "plan"
    epochs: int
    steps_per_epoch: int
    steps: int
    step: int


class StepLine(Line):
    """Loss and accuracy are means over the images of the batch."""

    kind: Literal["step"] = "step"
    step: int
    epoch: int
    loss: float
    accuracy: float
    learning_rate: float
    images_per_second: float | None = None


class Scores(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False)

    loss: float
    accuracy: float


class EpochLine(Line):
    """``valid`` is None for an epoch that was not validated; ``best``: the best one so far."""

    kind: Literal["epoch"] = "epoch"
    epoch: int
    step: int
    train: Scores
    valid: Scores | None
    best: bool
    seconds: float
    learning_rate: float


class CheckpointLine(Line):
    kind: Literal["checkpoint"] = "checkpoint"
    step: int
    epoch: int
    folder: str
    digest: str


class DeviceLine(Line):
    """What a training computes on; ``name`` is the first of ``names``, as the first release read it."""

    kind: Literal["device"] = "device"
    device: Literal["cpu", "gpu"]
    name: str
    names: list[str]


class ResumedLine(Line):
    kind: Literal["resumed"] = "resumed"
    step: int
    epoch: int
    checkpoint: str = Field(alias="from")
    exact: bool


class RungLine(Line):
    """A training waits for others to decide whether it goes on. ``stop_reason``: why it has ended already."""

    kind: Literal["rung"] = "rung"
    epoch: int
    stop_reason: str | None


class WarningLine(Line):
    kind: Literal["warning"] = "warning"
    message: str


AnyLine = (
    StageLine
    | AliveLine
    | ProgressLine
    | PlanLine
    | StepLine
    | EpochLine
    | CheckpointLine
    | DeviceLine
    | ResumedLine
    | RungLine
    | WarningLine
)
_ADAPTER: TypeAdapter[AnyLine] = TypeAdapter(Annotated[AnyLine, Field(discriminator="kind")])


def parse_line(data: bytes) -> AnyLine:
    """One line of a progress file. Raises pydantic.ValidationError, a ValueError."""
    return _ADAPTER.validate_json(data)
