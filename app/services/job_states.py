"""The states of a job: which may follow which, and the one function that changes them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from app.errors import ConflictError
from app.models import Dataset, Job, JobEvent
from app.models.base import db_now, utc_now
from app.schemas.job_kinds import get_job_kind
from app.services import webhook_events
from app.services.dataset_states import import_failed, select_waiting
from app.services.key_quotas import charge_job
from app.services.workers import require_workers_for

TRANSITIONS: dict[str, frozenset[str]] = {
    "queued": frozenset({"running", "paused", "cancelled", "failed"}),
    "running": frozenset({"queued", "paused", "succeeded", "failed", "cancelled"}),
    "paused": frozenset({"queued", "cancelled", "failed"}),  # failed: when its dataset's import fails
    "succeeded": frozenset(),
    "failed": frozenset({"queued"}),  # by `retry` alone
    "cancelled": frozenset(),
}
TERMINAL = frozenset({"succeeded", "failed", "cancelled"})


def move_job(session: Session, job: Job, status: str, **data: Any) -> None:
    """Moves ``job`` to ``status`` and records it as an event; raises ConflictError where that may not be."""
    if status not in TRANSITIONS[job.status]:
        raise ConflictError(f"Job {job.id} is {job.status} and cannot become {status}.")
    job.status = status
    if status in ("failed", "cancelled") and get_job_kind(job.kind).makes_dataset:
        _fail_dataset(session, job)
    if status != "running":
        job.lease_owner = job.lease_until = None
    if status in TERMINAL:
        job.stage = None
        job.finished_at = utc_now()
    append_event(session, job, "status", status=status, **data)
    if status in TERMINAL:
        webhook_events.job_ended(session, job, model=data.get("model"))


def queue_job(session: Session, job: Job) -> None:
    """Stores a new job as queued; announcing it, once this is committed, is the caller's.

    Raises ConflictError while a worker beats that would misread the job; LimitReachedError.
    """
    require_workers_for(session, job)
    charge_job(session, job)
    job.status = "queued"
    job.dispatched_at = db_now()
    session.add(job)
    append_event(session, job, "status", status="queued")
    session.flush()


def hold_job_back(session: Session, job: Job) -> None:
    """Stores a new job that rests until its sweep queues it."""
    job.status = "paused"
    session.add(job)
    append_event(session, job, "status", status="paused", reason="sweep")
    session.flush()


def append_event(session: Session, job: Job, event_type: str, **data: Any) -> None:
    """Adds the job's next event. The counter lives on the job's row, whose lock puts writers in a row."""
    session.flush()
    number = session.scalar(
        update(Job)
        .where(Job.id == job.id)
        .values(last_event=Job.last_event + 1)
        .returning(Job.last_event)
        .execution_options(synchronize_session=False)
    )
    session.add(JobEvent(job_id=job.id, number=number, type=event_type, data=data))


def _fail_dataset(session: Session, job: Job) -> None:
    """The dataset of a failed or cancelled import does not become ready, and what waits for it fails too."""
    dataset = session.get_one(Dataset, job.dataset)
    cancelled = ConflictError("The import was cancelled.", hint="Import the images again.")
    dataset.status, dataset.error = "failed", job.error or cancelled.as_dict()
    dataset.ready_at = utc_now() if job.error is None else None
    session.flush()  # Holds the dataset's row: whoever queues a job for it meanwhile sees that it failed.
    webhook_events.dataset_failed(session, dataset, job)
    error = import_failed(dataset).as_dict()
    for waiting in session.scalars(select_waiting(dataset).with_for_update()):
        waiting.error = error
        move_job(session, waiting, "failed", error=error["code"], detail=error["detail"])
