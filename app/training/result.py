"""What a training answers: the artifact that it made and the figures that were measured on it."""

from __future__ import annotations

from pathlib import Path

from app.evaluation.spec import EvaluationContent
from app.schemas.job import StopReason
from app.schemas.message import Message


class Parity(Message):
    """How far the packaged model's answers are from the trained network's, over ``items`` test images."""

    items: int
    labels_equal: int
    max_probability_difference: float


class Best(Message):
    """The epoch whose weights were kept, and the value of the monitored metric."""

    epoch: int
    metric: str
    value: float


class TrainingResult(Message):
    """``artifact``: the model's folder; None from a child of the first release whose model failed its gate.

    ``verification``: the replay's files. ``is_exact``: whether every resume continued bit by bit.
    ``peak_memory_bytes``: the most that the process held; None where the machine does not say it.
    """

    artifact: Path | None
    weights_sha256: str
    best: Best
    stop_reason: StopReason
    evaluation: EvaluationContent
    verification: Path
    parity: Parity
    epochs_run: int
    is_exact: bool
    peak_memory_bytes: int | None = None
