"""How long a running training has still to go: its steps by their speed so far, all else as forecast."""

from __future__ import annotations

import math
from typing import Any

from sqlalchemy.orm import Session

from app.errors import LoupeError
from app.features.files import NETWORK
from app.forecasts.corrections import STAGES, correct_rest, correct_steps, divide_into_stages
from app.forecasts.costs import FORWARD, FROZEN, Size, estimate_seconds
from app.models import Job
from app.networks.registry import get_network
from app.schemas.hyperparameters import ResolvedHyperparameters
from app.schemas.progress_lines import StepLine
from app.services.past_trainings import describe_size, read_past


def expect_stages(session: Session, job: Job, device: str) -> dict[str, float] | None:
    """Seconds of each stage; None where nothing is known of the network, or nothing of it on a GPU."""
    size = _size_of(job)
    usual = None if size is None else estimate_seconds(size)
    if size is None or usual is None:
        return None
    past = read_past(session, device)
    steps, rest = correct_steps(size, past), correct_rest(size, past)
    if device == "gpu" and not rest.trainings:
        return None
    return {name: round(value, 1) for name, value in divide_into_stages(usual, steps, rest).items()}


def left_in_stages(expected: dict[str, float] | None, stage: str, done: float = 0.0) -> float | None:
    """Seconds to the end from a stage of which the part ``done`` is over; None where that is not known."""
    names = list(STAGES)
    if not expected or stage not in names:
        return None
    later = sum(expected[name] for name in names[names.index(stage) + 1 :])
    return round(expected[stage] * (1 - done) + later, 1)


def left_after_step(job: Job, line: StepLine, speed: float, expected: dict[str, float] | None) -> float:
    """Seconds to the end. ``speed``: images a second in the steps of this phase."""
    size, steps = _size_of(job), job.progress.get("steps") or line.step
    if size is None:
        batch_size = int((job.hyperparameters or {}).get("batch_size", 1))
        return (steps - line.step) * batch_size / speed
    per_epoch = max(1, steps // size.epochs)
    is_frozen = line.epoch <= size.freeze_epochs
    whole_speed = speed * FROZEN if is_frozen else speed
    frozen_steps = max(0, size.freeze_epochs * per_epoch - line.step)
    images = size.train / per_epoch * (steps - line.step - frozen_steps + FROZEN * frozen_steps)
    validations = math.ceil((size.epochs - line.epoch + 1) / size.validation_freq)
    seconds = (images + FORWARD * size.valid * validations) / whole_speed
    return seconds + (left_in_stages(expected, "evaluating") or 0.0)


def is_first_of_phase(job: Job, line: StepLine) -> bool:
    """Whether the network was traced in this step, which says nothing of the others."""
    freeze_epochs = (job.hyperparameters or {}).get("freeze_epochs") or 0
    before = job.progress.get("epoch") or 0
    return job.progress.get("images_per_second") is None or before <= freeze_epochs < line.epoch


def _size_of(job: Job) -> Size | None:
    counts: dict[str, Any] | None = (job.split or {}).get("counts")
    try:
        network = get_network(job.network or "")
        settings = ResolvedHyperparameters.model_validate(job.hyperparameters)
    except (LoupeError, ValueError):  # of another release
        return None
    if not counts:
        return None
    return describe_size(network, settings, counts, has_features=network.name == NETWORK)
