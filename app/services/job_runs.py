"""Jobs from the worker's side: claim, beat and report, release, finish, fail.

Every write after the claim carries its fence: a worker that lost its lease changes nothing any more.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, or_, select, update
from sqlalchemy.orm import Session

from app.db import upsert
from app.devices import Gpu
from app.job_queue import queue_for
from app.models import Dataset, Job, JobEpoch, JobEvent, JobStep
from app.models.base import db_now, utc_now
from app.runtime import Runtime
from app.services.gpus import CPU_ONLY, Offer, lease_gpus
from app.services.job_lifecycle import mark_cancelled
from app.services.job_states import append_event, move_job

MAX_LOSSES = 10
"""Times in a row, without a new checkpoint, that a job may lose its worker or be killed from outside."""


@dataclass(frozen=True)
class Claim:
    """The right to run a job: void as soon as the job's fence is another."""

    job_id: str
    kind: str
    fence: int
    attempt: int
    device: str = "auto"
    gpus: tuple[str, ...] = ()
    """The leased GPUs as CUDA_VISIBLE_DEVICES takes them."""


@dataclass(frozen=True)
class Wishes:
    """What the client has asked of a running job."""

    cancel: bool
    stop: bool
    pause: bool


class ClaimLostError(Exception):
    """Another worker holds the job now, or it has ended: stop, and publish nothing."""


def claim(runtime: Runtime, job_id: str, owner: str, offer: Offer = CPU_ONLY) -> Claim | None:
    """Takes a queued job, or one whose lease has run out. None: nothing to do here, drop the message.

    A training that asks for a device that ``offer`` has not is not taken. Raises NoFreeGpuError when the GPUs
    are in use: then nothing has changed, and the job has lost no attempt. A job whose last attempt this was
    is left to the reaper, which ends it.
    """
    now = db_now()
    taken = (
        update(Job)
        .where(
            Job.id == job_id,
            Job.cancel_requested.is_(False),
            _fits(offer),
            or_(
                Job.status == "queued",
                and_(
                    Job.status == "running",
                    Job.lease_until < now,
                    Job.attempts_without_checkpoint < runtime.settings.max_attempts,
                ),
            ),
        )
        .values(
            status="running",
            fence=Job.fence + 1,
            attempt=Job.attempt + 1,
            attempts_without_checkpoint=Job.attempts_without_checkpoint + 1,
            lease_owner=owner,
            lease_until=now + runtime.settings.lease_seconds,
        )
        .returning(Job.kind, Job.fence, Job.attempt, Job.device, Job.gpus)
        .execution_options(synchronize_session=False)
    )
    with runtime.db.write() as session:
        row = session.execute(taken).one_or_none()
        if row is None:
            return None
        job = session.get_one(Job, job_id)
        job.started_at = job.started_at or utc_now()
        job.stage = "preparing"
        gpus: tuple[Gpu, ...] = ()
        if row.kind == "training" and row.device != "cpu" and offer.gpus:
            gpus = lease_gpus(session, job, row.gpus, offer.gpus)
        more = {"gpus": [gpu.id for gpu in gpus]} if gpus else {}
        append_event(session, job, "status", status="running", attempt=row.attempt, **more)
        return Claim(job_id, row.kind, row.fence, row.attempt, row.device, tuple(gpu.id for gpu in gpus))


def _fits(offer: Offer) -> ColumnElement[bool]:
    """Whether a job can run on what is offered: of the trainings one for it, of other work any."""
    fits = [Job.kind != "training"]
    if offer.gpus:
        fits.append(and_(Job.device != "cpu", Job.gpus <= len(offer.gpus)))
    elif offer.cpu:
        fits.append(Job.device == "auto")
    if offer.cpu:
        fits.append(Job.device == "cpu")
    return or_(*fits)


def report(runtime: Runtime, claim: Claim, lines: Sequence[dict[str, Any]]) -> Wishes:
    """Extends the lease and stores the child's progress lines; raises ClaimLostError."""
    with runtime.db.write() as session:
        job = _hold(session, claim, lease_seconds=runtime.settings.lease_seconds)
        _store_series(session, job, lines)
        for line in lines:
            _apply(session, job, line)
        return Wishes(job.cancel_requested, job.stop_requested, job.pause_requested)


def look(runtime: Runtime, claim: Claim) -> Wishes:
    """What the client wishes, without a beat of the lease; raises ClaimLostError."""
    with runtime.db.read() as session:
        wishes = session.execute(
            select(Job.cancel_requested, Job.stop_requested, Job.pause_requested).where(
                Job.id == claim.job_id, Job.fence == claim.fence, Job.status == "running"
            )
        ).one_or_none()
    if wishes is None:
        raise ClaimLostError(claim.job_id)
    return Wishes(*wishes)


def list_waiting(
    runtime: Runtime, queues: Collection[str], offer: Offer = CPU_ONLY, limit: int = 20
) -> list[str]:
    """The queued jobs of these queues that can run on what is offered, oldest first."""
    query = select(Job.id, Job.kind, Job.device).where(Job.status == "queued", _fits(offer)).order_by(Job.id)
    with runtime.db.read() as session:
        rows = session.execute(query)
        return [job_id for job_id, kind, device in rows if queue_for(kind, device) in queues][:limit]


def release(runtime: Runtime, claim: Claim) -> None:
    """Gives a job back that was checkpointed on request; it costs the job none of its attempts."""
    with runtime.db.write() as session:
        job = _hold(session, claim)
        job.attempts_without_checkpoint = max(0, job.attempts_without_checkpoint - 1)
        if job.cancel_requested:
            mark_cancelled(session, job)
        elif job.pause_requested:
            job.pause_requested = False
            move_job(session, job, "paused")
        else:
            job.dispatched_at = None
            move_job(session, job, "queued", reason="released", detail="The worker is shutting down.")
        is_queued = job.status == "queued"
    if is_queued:
        runtime.queue.enqueue(claim.job_id, claim.kind, claim.device)


def retry_or_fail(
    runtime: Runtime, claim: Claim, error: dict[str, Any], *, is_from_outside: bool = False
) -> None:
    """After a crash: queued again, unless too many attempts in a row reached no new checkpoint."""
    with runtime.db.write() as session:
        job = _hold(session, claim)
        again = give_back_or_fail(
            session, job, error, runtime.settings.max_attempts, is_from_outside=is_from_outside
        )
    if again:
        runtime.queue.enqueue(claim.job_id, claim.kind, claim.device)


def give_back_or_fail(
    session: Session, job: Job, error: dict[str, Any], max_attempts: int, *, is_from_outside: bool
) -> bool:
    """True when the job was queued again. The caller holds the job's row.

    What came from outside, a lost worker or a kill that memory does not explain, is not held against the job
    as one of its attempts: only after ``MAX_LOSSES`` in a row is the job itself taken for the cause.
    """
    if job.cancel_requested:
        mark_cancelled(session, job)
        return False
    if is_from_outside:
        job.attempts_without_checkpoint = max(0, job.attempts_without_checkpoint - 1)
        is_last = _count_losses(session, job) + 1 >= MAX_LOSSES
    else:
        is_last = job.attempts_without_checkpoint >= max_attempts
    if is_last:
        mark_failed(session, job, error)
        return False
    reason = {"reason": error["code"], "detail": error["detail"], "counted": not is_from_outside}
    if job.pause_requested:
        job.pause_requested = False
        move_job(session, job, "paused", **reason)
        return False
    job.dispatched_at = None
    move_job(session, job, "queued", **reason)
    return True


def _count_losses(session: Session, job: Job) -> int:
    """How often the job came back through no fault of its own since it last made a checkpoint."""
    session.flush()
    events = session.execute(
        select(JobEvent.type, JobEvent.data)
        .where(JobEvent.job_id == job.id, JobEvent.type.in_(("status", "checkpoint")))
        .order_by(JobEvent.number.desc())
        .limit(10 * MAX_LOSSES)
    )
    losses = 0
    for event_type, data in events:
        if event_type == "checkpoint" or data.get("reason") == "retried":
            break
        losses += data.get("counted") is False
    return losses


def fail(runtime: Runtime, claim: Claim, error: dict[str, Any]) -> None:
    """Ends the job with ``error``."""
    with runtime.db.write() as session:
        if (job := hold_to_finish(session, claim)) is not None:
            mark_failed(session, job, error)


def cancelled(runtime: Runtime, claim: Claim) -> None:
    """Ends the job as cancelled, once its child is gone."""
    with runtime.db.write() as session:
        mark_cancelled(session, _hold(session, claim))


def mark_failed(session: Session, job: Job, error: dict[str, Any]) -> None:
    job.error = error
    if job.kind == "import":
        dataset = session.get_one(Dataset, job.dataset_id)
        dataset.status, dataset.error = "failed", error
    move_job(session, job, "failed", error=error["code"], detail=error["detail"])


def finish_export(runtime: Runtime, claim: Claim, result: dict[str, Any]) -> None:
    """The export's file lies in the job's folder."""
    with runtime.db.write() as session:
        if (job := hold_to_finish(session, claim)) is not None:
            job.result = result
            complete(session, job)


def finish_import(runtime: Runtime, claim: Claim, result: dict[str, Any]) -> None:
    """The dataset is ready; its folder was published by the import itself, under the dataset's id."""
    with runtime.db.write() as session:
        if (job := hold_to_finish(session, claim)) is None:
            return
        dataset = session.get_one(Dataset, job.dataset_id)
        dataset.status = "ready"
        dataset.digest = result["digest"]
        dataset.classes = result["classes"]
        dataset.counts = result["counts"]
        dataset.items = result["items"]
        dataset.skipped = result["skipped"]
        dataset.ready_at = utc_now()
        job.result = result
        complete(session, job)


def complete(session: Session, job: Job, **data: Any) -> None:
    """Moves a job to its good end."""
    job.progress = {**job.progress, "fraction": 1.0, "eta_seconds": 0.0}
    move_job(session, job, "succeeded", **data)


def hold_to_finish(session: Session, claim: Claim) -> Job | None:
    """The claimed job's row, held to the end of the transaction; raises ClaimLostError.

    None when the client has been promised a cancel meanwhile: the job has then been cancelled.
    """
    job = _hold(session, claim)
    if job.cancel_requested:
        mark_cancelled(session, job)
        return None
    return job


def _hold(session: Session, claim: Claim, *, lease_seconds: float | None = None) -> Job:
    values: dict[str, Any] = {"fence": Job.fence}
    if lease_seconds is not None:
        values["lease_until"] = db_now() + lease_seconds
    held = session.execute(
        update(Job)
        .where(Job.id == claim.job_id, Job.fence == claim.fence, Job.status == "running")
        .values(**values)
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if held is None:
        raise ClaimLostError(claim.job_id)
    return session.get_one(Job, claim.job_id, populate_existing=True)


def _apply(session: Session, job: Job, line: dict[str, Any]) -> None:
    """One progress line of a child; series lines are stored in bulk elsewhere."""
    match line["kind"]:
        case "stage":
            job.stage = line["stage"]
            append_event(session, job, "stage", stage=line["stage"])
        case "plan":
            job.progress = {**job.progress, "epochs": line["epochs"], "steps": line["steps"]}
            job.best = _best_until(session, job, line["step"])
        case "step":
            job.progress = _training_progress(job, line)
        case "progress":
            done, total = line["done"], line["total"]
            job.progress = {**job.progress, "done": done, "total": total}
            if job.kind != "training":
                fraction = line.get("fraction", done / total if total else 0.0)
                job.progress = {**job.progress, "fraction": min(1.0, fraction)}
        case "epoch":
            if line["best"] and line["valid"]:
                metric = (job.hyperparameters or {})["monitor"]
                value = line["valid"][metric.removeprefix("valid_")]
                job.best = {"epoch": line["epoch"], "metric": metric, "value": value}
            append_event(session, job, "epoch", **_data(line))
        case "checkpoint":
            job.attempts_without_checkpoint = 0
            append_event(session, job, "checkpoint", **_data(line))
        case "device":
            job.ran_on = {"device": line["device"], "names": line.get("names", [line["name"]])}
            append_event(session, job, "device", **_data(line))
        case "resumed" | "warning" as kind:
            append_event(session, job, kind, **_data(line))


def _data(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if name not in ("kind", "time")}


def _training_progress(job: Job, line: dict[str, Any]) -> dict[str, Any]:
    before = job.progress
    steps = before.get("steps") or line["step"]
    speed = line.get("images_per_second")
    if speed and before.get("images_per_second"):
        # Smoothed over about ten steps: a single step's speed jumps.
        speed = 0.9 * before["images_per_second"] + 0.1 * speed
    pictures_left = (steps - line["step"]) * (job.hyperparameters or {}).get("batch_size", 1)
    return {
        **before,
        "epoch": line["epoch"],
        "step": line["step"],
        "fraction": min(1.0, line["step"] / max(1, steps)),
        "images_per_second": speed,
        "eta_seconds": round(pictures_left / speed, 1) if speed else None,
    }


def _store_series(session: Session, job: Job, lines: Iterable[dict[str, Any]]) -> None:
    steps: dict[int, dict[str, Any]] = {}
    epochs: dict[int, dict[str, Any]] = {}
    for line in lines:
        if line["kind"] == "plan":
            # What lies after the checkpoint will be trained again: the series must not show it twice.
            for table, points in ((JobStep, steps), (JobEpoch, epochs)):
                session.execute(delete(table).where(table.job_id == job.id, table.step > line["step"]))
                for key in [key for key, row in points.items() if row["step"] > line["step"]]:
                    del points[key]
        elif line["kind"] == "step":
            steps[line["step"]] = {
                "job_id": job.id,
                **{name: line.get(name) for name in ("step", "epoch", "loss", "accuracy", "learning_rate")},
                "images_per_second": line.get("images_per_second"),
            }
        elif line["kind"] == "epoch":
            valid = line["valid"] or {}
            epochs[line["epoch"]] = {
                "job_id": job.id,
                "epoch": line["epoch"],
                "step": line["step"],
                "train_loss": line["train"]["loss"],
                "train_accuracy": line["train"]["accuracy"],
                "valid_loss": valid.get("loss"),
                "valid_accuracy": valid.get("accuracy"),
                "learning_rate": line["learning_rate"],
                "seconds": line["seconds"],
                "is_best": line["best"],
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
