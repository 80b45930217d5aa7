"""The states of a job: which may follow which, and the one function that changes them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import update
from sqlalchemy.orm import Session

from app.errors import ConflictError
from app.models import Job, JobEvent
from app.models.base import utc_now

TRANSITIONS: dict[str, frozenset[str]] = {
    "queued": frozenset({"running", "paused", "cancelled", "failed"}),
    "running": frozenset({"queued", "paused", "succeeded", "failed", "cancelled"}),
    "paused": frozenset({"queued", "cancelled"}),
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
    if status != "running":
        job.lease_owner = job.lease_until = None
    if status in TERMINAL:
        job.stage = None
        job.finished_at = utc_now()
    append_event(session, job, "status", status=status, **data)


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
