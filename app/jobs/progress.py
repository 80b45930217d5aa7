"""What a running job reports: its lease is extended, its series, events and progress are stored."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, assert_never

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.db import upsert
from app.jobs.claims import Claim, Requests, hold, without_stage
from app.jobs.time_left import expect_stages, is_first_of_phase, left_after_step, left_in_stages
from app.models import Job, JobEpoch, JobStep
from app.schemas.progress_lines import (
    AliveLine,
    AnyLine,
    CheckpointLine,
    DeviceLine,
    EpochLine,
    PlanLine,
    ProgressLine,
    ResumedLine,
    RungLine,
    StageLine,
    StepLine,
    WarningLine,
)
from app.services.job_states import append_event


def report(context: AppContext, claim: Claim, lines: Sequence[AnyLine]) -> Requests:
    """Extends the lease and stores the child's progress lines; raises ClaimLostError."""
    with context.db.write() as session:
        job = hold(session, claim, lease_seconds=context.settings.lease_seconds)
        _store_series(session, job, lines)
        for line in lines:
            _apply(session, job, line)
        return Requests(job.cancel_requested, job.stop_requested, job.pause_requested)


def _apply(session: Session, job: Job, line: AnyLine) -> None:
    """One progress line of a child; series lines are stored in bulk elsewhere."""
    match line:
        case AliveLine():
            pass
        case StageLine():
            if line.stage != job.stage:
                job.progress = without_stage(job.progress)
            job.stage = line.stage
            if (left := left_in_stages(job.progress.get("stage_seconds"), line.stage)) is not None:
                job.progress = {**job.progress, "eta_seconds": left}
            append_event(session, job, "stage", stage=line.stage)
        case PlanLine():
            job.progress = {**job.progress, "epochs": line.epochs, "steps": line.steps}
            job.best = _best_until(session, job, line.step)
        case StepLine():
            job.progress = _training_progress(job, line)
        case ProgressLine():
            job.progress = {**job.progress, "done": line.done, "total": line.total}
            part = line.done / line.total if line.total else 0.0
            if (left := left_in_stages(job.progress.get("stage_seconds"), job.stage or "", part)) is not None:
                job.progress = {**job.progress, "eta_seconds": left}
            if line.fraction is not None:
                job.progress = {**job.progress, "fraction": min(1.0, line.fraction)}
            if line.images_per_second is not None:
                speed = {"images_per_second": line.images_per_second, "eta_seconds": line.eta_seconds}
                job.progress = {**job.progress, **speed}
        case EpochLine():
            if line.best and line.valid:
                metric = (job.hyperparameters or {})["monitor"]
                value = getattr(line.valid, metric.removeprefix("valid_"))
                job.best = {"epoch": line.epoch, "metric": metric, "value": value}
            append_event(session, job, line.kind, **line.as_event())
        case CheckpointLine():
            job.attempts_without_checkpoint = 0
            append_event(session, job, line.kind, **line.as_event())
        case DeviceLine():
            job.ran_on = {"device": line.device, "names": line.names}
            if (expected := expect_stages(session, job, line.device)) is not None:
                left = left_in_stages(expected, "preparing")
                job.progress = {**job.progress, "stage_seconds": expected, "eta_seconds": left}
            append_event(session, job, line.kind, **line.as_event())
        case RungLine():
            job.pause_requested = True
            job.stop_reason = line.stop_reason
            append_event(session, job, line.kind, **line.as_event())
        case ResumedLine() | WarningLine():
            append_event(session, job, line.kind, **line.as_event())
        case _:
            assert_never(line)


def _training_progress(job: Job, line: StepLine) -> dict[str, Any]:
    before = job.progress
    steps = before.get("steps") or line.step
    speed, is_first = line.images_per_second, is_first_of_phase(job, line)
    if speed and not is_first and not before.get("is_first_step"):
        # Smoothed over about ten steps: a single step's speed jumps.
        speed = 0.9 * before["images_per_second"] + 0.1 * speed
    left = left_after_step(job, line, speed, before.get("stage_seconds")) if speed else None
    return {
        **before,
        "epoch": line.epoch,
        "step": line.step,
        "fraction": min(1.0, line.step / max(1, steps)),
        "images_per_second": speed,
        "is_first_step": is_first,
        "eta_seconds": None if left is None else round(left, 1),
    }


def _store_series(session: Session, job: Job, lines: Iterable[AnyLine]) -> None:
    steps: dict[int, dict[str, Any]] = {}
    epochs: dict[int, dict[str, Any]] = {}
    for line in lines:
        if isinstance(line, PlanLine):
            # What lies after the checkpoint will be trained again: the series must not show it twice.
            for table, points in ((JobStep, steps), (JobEpoch, epochs)):
                session.execute(delete(table).where(table.job_id == job.id, table.step > line.step))
                for key in [key for key, row in points.items() if row["step"] > line.step]:
                    del points[key]
        elif isinstance(line, StepLine):
            steps[line.step] = {
                "job_id": job.id,
                "step": line.step,
                "epoch": line.epoch,
                "loss": line.loss,
                "accuracy": line.accuracy,
                "learning_rate": line.learning_rate,
                "images_per_second": line.images_per_second,
            }
        elif isinstance(line, EpochLine):
            epochs[line.epoch] = {
                "job_id": job.id,
                "epoch": line.epoch,
                "step": line.step,
                "train_loss": line.train.loss,
                "train_accuracy": line.train.accuracy,
                "valid_loss": line.valid.loss if line.valid else None,
                "valid_accuracy": line.valid.accuracy if line.valid else None,
                "learning_rate": line.learning_rate,
                "seconds": line.seconds,
                "is_best": line.best,
            }
    upsert(session, JobStep, list(steps.values()), ("job_id", "step"))
    upsert(session, JobEpoch, list(epochs.values()), ("job_id", "epoch"))


def _best_until(session: Session, job: Job, step: int) -> dict[str, Any] | None:
    """The best epoch of those that the training starts with."""
    row = session.scalar(
        select(JobEpoch)
        .where(JobEpoch.job_id == job.id, JobEpoch.is_best, JobEpoch.step <= step)
        .order_by(JobEpoch.epoch.desc())
        .limit(1)
    )
    if row is None:
        return None
    metric = (job.hyperparameters or {})["monitor"]
    return {"epoch": row.epoch, "metric": metric, "value": getattr(row, metric)}
