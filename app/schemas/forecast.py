"""What a training will take and bring, as far as it can be said before it starts."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.schemas.job_kinds import JobStage


class Range(BaseModel):
    """What is expected, and between what it should lie."""

    expected: float
    low: float
    high: float


class StageSeconds(BaseModel):
    stage: JobStage
    seconds: float = Field(description="Expected.")


class TimeForecast(BaseModel):
    seconds: Range = Field(
        description="From the start by a worker to the served model, without the time in the queue; four of "
        "five trainings should lie within."
    )
    stages: list[StageSeconds]
    trainings_before: int = Field(description="Trainings that are queued or running now.")
    basis: str = Field(description="What it is from.")


class MemoryForecast(BaseModel):
    bytes: Range = Field(
        description="The most that the process of the training holds; four of five should lie within."
    )
    basis: str = Field(description="What it is from.")


class DiskForecast(BaseModel):
    running_bytes: int = Field(description="The most in the home folder while it runs, beyond what is there.")
    kept_bytes: int = Field(description="What stays when it has ended.")


class CurvePoint(BaseModel):
    images: int
    accuracy: float


class AccuracyForecast(BaseModel):
    test: Range = Field(description="Accuracy of the final test, with the 95 % interval.")
    curve: list[CurvePoint] = Field(
        description="Accuracy of linear classifiers that learned from so many images, of images left out."
    )
    twice_the_images: Range = Field(
        description="The last point of the curve with twice as many images, with the 95 % interval."
    )
    basis: str = Field(description="What it is from.")


class Unknown(BaseModel):
    """What is not forecast."""

    what: Literal["time", "memory", "disk", "accuracy"]
    why: str
    command: str | None = Field(description="The command that would tell, where there is one.")


class Forecast(BaseModel):
    time: TimeForecast | None
    memory: MemoryForecast | None
    disk: DiskForecast | None
    accuracy: AccuracyForecast | None
    unknown: list[Unknown] = Field(description="What is missing above, and why.")
