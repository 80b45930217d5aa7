"""What the child that sends a training to MLflow is given, and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from app.schemas.message import Message


class Point(Message):
    """One value of a metric; ``at_ms``: milliseconds since 1970."""

    key: str
    value: float
    step: int
    at_ms: int


class RunSpec(Message):
    """A training that has ended, as a run of MLflow.

    ``key``: which end of which job this is: a run that has it in its tag ``loupe.key`` is written to again.
    ``model``: the folder of the artifact; None where no model came out of it.
    """

    tracking_uri: str
    experiment: str
    name: str
    key: str
    status: Literal["FINISHED", "FAILED", "KILLED"]
    started_ms: int
    ended_ms: int
    params: dict[str, str]
    tags: dict[str, str]
    points: tuple[Point, ...]
    model: Path | None


class SentRun(Message):
    experiment_id: str
    run_id: str
