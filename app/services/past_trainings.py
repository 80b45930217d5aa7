"""What the trainings that ended here took: from their rows, the newest first."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import LoupeError
from app.features.files import NETWORK
from app.forecasts.corrections import Past
from app.forecasts.costs import FROZEN, Size
from app.models import Job, JobStep
from app.networks.registry import NetworkSpec, get_network
from app.schemas.hyperparameters import ResolvedHyperparameters
from app.schemas.job_kinds import MODEL_MAKERS

MOST = 40
"""Trainings: older ones are of an older machine or release."""
_STEPS = 50
"""The last of each training: the first wait for the network to be traced."""


def read_past(session: Session, device: str) -> list[Past]:
    """Trainings that a single attempt brought to its end on this kind of device, ``cpu`` or ``gpu``."""
    jobs = session.scalars(
        select(Job)
        .where(Job.kind.in_(MODEL_MAKERS), Job.status == "succeeded", Job.attempt == 1)
        .order_by(Job.id.desc())
        .limit(MOST)
    )
    past = [_read(session, job) for job in jobs if (job.ran_on or {}).get("device") == device]
    return [one for one in past if one is not None]


def describe_size(
    network: NetworkSpec,
    settings: ResolvedHyperparameters,
    counts: Mapping[str, int],
    *,
    has_features: bool,
    has_records: bool = False,
) -> Size:
    """``counts``: images of train, valid and test."""
    return Size(
        network=network,
        method=settings.method,
        image_size=settings.image_sides,
        batch_size=settings.batch_size,
        epochs=settings.epochs,
        freeze_epochs=min(settings.freeze_epochs, settings.epochs),
        validation_freq=settings.validation_freq,
        train=counts["train"],
        valid=counts["valid"],
        test=counts["test"],
        has_features=has_features,
        has_records=has_records,
    )


def _read(session: Session, job: Job) -> Past | None:
    result: dict[str, Any] = job.result or {}
    counts = (job.split or {}).get("counts")
    if job.started_at is None or job.finished_at is None or not counts or "epochs_run" not in result:
        return None
    try:
        network = get_network(job.network or "")
        settings = ResolvedHyperparameters.model_validate(job.hyperparameters)
    except (LoupeError, ValueError):  # of another release
        return None
    tested = (result.get("parity") or {}).get("items", counts["test"])
    size = describe_size(
        network,
        settings.model_copy(update={"epochs": max(1, result["epochs_run"])}),
        {**counts, "test": tested},
        has_features=network.name == NETWORK,
    )
    return Past(
        size=size,
        seconds=(job.finished_at - job.started_at).total_seconds(),
        image_seconds=_image_seconds(session, job, settings.freeze_epochs),
        memory_bytes=result.get("peak_memory_bytes"),
    )


def _image_seconds(session: Session, job: Job, freeze_epochs: int) -> float | None:
    """Of the usual one of the last steps, in seconds for an image with all layers learning."""
    last = session.execute(
        select(JobStep.epoch, JobStep.images_per_second)
        .where(JobStep.job_id == job.id, JobStep.images_per_second > 0)
        .order_by(JobStep.step.desc())
        .limit(_STEPS)
    ).all()
    times = [(epoch, 1 / speed) for epoch, speed in last if speed]
    whole = [seconds for epoch, seconds in times if epoch > freeze_epochs]
    if whole:
        return statistics.median(whole)
    return statistics.median(seconds for _, seconds in times) / FROZEN if times else None
