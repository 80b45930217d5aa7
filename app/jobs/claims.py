"""The right to run a job: claim it, release it, fail it, end it.

Every write after the claim carries its fence: a worker that lost its lease changes nothing any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from app.context import AppContext
from app.host.gpus import Gpu
from app.job_queue import queue_for
from app.jobs.gpu_leases import CPU_ONLY, Offer, lease_gpus
from app.models import Job, JobEvent
from app.models.base import db_now, utc_now
from app.schemas.job_kinds import DEVICE_KINDS, JOB_KINDS
from app.services.dataset_states import is_dataset_there
from app.services.job_lifecycle import mark_cancelled
from app.services.job_states import append_event, move_job

MAX_LOSSES = 10
"""Times in a row, without a new checkpoint, that a job may lose its worker or be killed from outside."""


_OF_A_STAGE = frozenset({"done", "total", "images_per_second", "eta_seconds"})


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
class Requests:
    """What the client has asked of a running job."""

    cancel: bool
    stop: bool
    pause: bool


class ClaimLostError(Exception):
    """Another worker holds the job now, or it has ended: stop, and publish nothing."""


def claim(context: AppContext, job_id: str, owner: str, offer: Offer = CPU_ONLY) -> Claim | None:
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
                    Job.attempts_without_checkpoint < context.settings.max_attempts,
                ),
            ),
        )
        .values(
            status="running",
            fence=Job.fence + 1,
            attempt=Job.attempt + 1,
            attempts_without_checkpoint=Job.attempts_without_checkpoint + 1,
            lease_owner=owner,
            lease_until=now + context.settings.lease_seconds,
        )
        .returning(Job.kind, Job.fence, Job.attempt, Job.device, Job.gpus)
        .execution_options(synchronize_session=False)
    )
    with context.db.write() as session:
        row = session.execute(taken).one_or_none()
        if row is None:
            return None
        job = session.get_one(Job, job_id)
        job.started_at = job.started_at or utc_now()
        job.stage = "preparing"
        job.progress = without_stage(job.progress)
        gpus: tuple[Gpu, ...] = ()
        if row.kind in DEVICE_KINDS and row.device != "cpu" and offer.gpus:
            gpus = lease_gpus(session, job, row.gpus, offer.gpus)
        more = {"gpus": [gpu.id for gpu in gpus]} if gpus else {}
        append_event(session, job, "status", status="running", attempt=row.attempt, **more)
        return Claim(job_id, row.kind, row.fence, row.attempt, row.device, tuple(gpu.id for gpu in gpus))


def without_stage(progress: Mapping[str, Any]) -> dict[str, Any]:
    """A job's progress as the next stage begins with it: what a stage counts says nothing of another."""
    return {name: value for name, value in progress.items() if name not in _OF_A_STAGE}


def _fits(offer: Offer) -> ColumnElement[bool]:
    """Whether a job can run on what is offered: what uses a device on that device, other work anywhere.

    One whose dataset is importing waits. A kind that a newer release added is left to the workers of that
    release.
    """
    fits: list[ColumnElement[bool]] = [Job.kind.in_(JOB_KINDS.keys() - DEVICE_KINDS)]
    if offer.gpus:
        fits.append(and_(Job.device != "cpu", Job.gpus <= len(offer.gpus)))
    elif offer.cpu:
        fits.append(Job.device == "auto")
    if offer.cpu:
        fits.append(Job.device == "cpu")
    return and_(Job.kind.in_(JOB_KINDS), is_dataset_there(), or_(*fits))


def poll(context: AppContext, claim: Claim) -> Requests:
    """What the client requests, without a beat of the lease; raises ClaimLostError."""
    with context.db.read() as session:
        requests = session.execute(
            select(Job.cancel_requested, Job.stop_requested, Job.pause_requested).where(
                Job.id == claim.job_id, Job.fence == claim.fence, Job.status == "running"
            )
        ).one_or_none()
    if requests is None:
        raise ClaimLostError(claim.job_id)
    return Requests(*requests)


def list_waiting(
    context: AppContext, queues: Collection[str], offer: Offer = CPU_ONLY, limit: int = 20
) -> list[str]:
    """The queued jobs of these queues that can run on what is offered, oldest first."""
    query = select(Job.id, Job.kind, Job.device).where(Job.status == "queued", _fits(offer)).order_by(Job.id)
    with context.db.read() as session:
        rows = session.execute(query)
        return [job_id for job_id, kind, device in rows if queue_for(kind, device) in queues][:limit]


def release(context: AppContext, claim: Claim) -> None:
    """Gives a job back that was checkpointed on request; it costs the job none of its attempts."""
    with context.db.write() as session:
        job = hold(session, claim)
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
        context.queue.enqueue(claim.job_id, claim.kind, claim.device)


def retry_or_fail(
    context: AppContext, claim: Claim, error: dict[str, Any], *, is_from_outside: bool = False
) -> None:
    """After a crash: queued again, unless too many attempts in a row reached no new checkpoint."""
    with context.db.write() as session:
        job = hold(session, claim)
        again = give_back_or_fail(
            session, job, error, context.settings.max_attempts, is_from_outside=is_from_outside
        )
    if again:
        context.queue.enqueue(claim.job_id, claim.kind, claim.device)


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


def fail(context: AppContext, claim: Claim, error: dict[str, Any]) -> None:
    """Ends the job with ``error``."""
    with context.db.write() as session:
        if (job := hold_to_finish(session, claim)) is not None:
            mark_failed(session, job, error)


def cancelled(context: AppContext, claim: Claim) -> None:
    """Ends the job as cancelled, once its child is gone."""
    with context.db.write() as session:
        mark_cancelled(session, hold(session, claim))


def mark_failed(session: Session, job: Job, error: dict[str, Any]) -> None:
    job.error = error
    move_job(session, job, "failed", error=error["code"], detail=error["detail"])


def complete(session: Session, job: Job, **data: Any) -> None:
    """Moves a job to its good end."""
    job.progress = {**job.progress, "fraction": 1.0, "eta_seconds": 0.0}
    move_job(session, job, "succeeded", **data)


def read_claimed(context: AppContext, claim: Claim) -> Job:
    """The claimed job as it is now, to read from."""
    with context.db.read() as session:
        return session.get_one(Job, claim.job_id)


def hold_to_finish(session: Session, claim: Claim) -> Job | None:
    """The claimed job's row, held to the end of the transaction; raises ClaimLostError.

    None when the client has been promised a cancel meanwhile: the job has then been cancelled.
    """
    job = hold(session, claim)
    if job.cancel_requested:
        mark_cancelled(session, job)
        return None
    return job


def hold(session: Session, claim: Claim, *, lease_seconds: float | None = None) -> Job:
    """The claimed job's row, held to the end of the transaction, its lease extended by ``lease_seconds``.

    Raises ClaimLostError.
    """
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
