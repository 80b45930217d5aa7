"""What keeps every accepted job moving: lost leases are given back, unclaimed jobs announced again.

One process of many does it at a time, by a lease of its own. All ages are the database's clock.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable

from sqlalchemy import or_, select, update

from app.context import AppContext
from app.db import upsert
from app.errors import LoupeError, WorkerLostError
from app.job_queue import queue_for
from app.jobs.claims import give_back_or_fail
from app.models import Job, Lease
from app.models.base import db_now
from app.schemas.job_kinds import JOB_KINDS
from app.services.dataset_states import is_dataset_there
from app.services.job_lifecycle import clean_up
from app.services.sweep_progress import advance, list_running

logger = logging.getLogger(__name__)

REAPER = "reaper"
LEASE_SECONDS = 15.0
BATCH = 500


def take_reaper_lease(context: AppContext, owner: str, *, is_gone: Callable[[str], bool]) -> bool:
    """Whether ``owner`` is the reaper for the next seconds. One that is gone need not be waited for."""
    with context.db.write() as session:
        now = session.scalar(select(db_now())) or 0.0
        holder = session.scalar(select(Lease.owner).where(Lease.name == REAPER))
        free = [Lease.owner == owner, Lease.until < now]
        if holder is not None and is_gone(holder):
            free.append(Lease.owner == holder)
        lease = {"name": REAPER, "owner": owner, "until": now + LEASE_SECONDS}
        return bool(upsert(session, Lease, [lease], ("name",), where=or_(*free), returning=Lease.owner))


def reclaim_lost_jobs(
    context: AppContext, *, is_gone: Callable[[str], bool], trust_expiry: bool
) -> list[str]:
    """Gives back running jobs whose worker is gone; returns their ids. Leaves alone what it knows no end for:
    the kinds of a newer release, whose own workers reclaim them.

    ``is_gone(owner)`` tells for an owner on this machine that its process has ended, which needs no waiting.
    While ``trust_expiry`` is False an expired lease alone is no proof: right after an outage of the database
    every healthy worker looks dead until it has had time to beat again.
    """
    lost = WorkerLostError(
        "The worker that ran this job ended or fell silent.",
        hint="Memory is the usual reason: see the worker's log and the system's.",
    ).as_dict()
    with context.db.write() as session:
        now = session.scalar(select(db_now())) or 0.0
        running = session.scalars(
            select(Job)
            .where(Job.status == "running", Job.kind.in_(JOB_KINDS))
            .with_for_update(skip_locked=True)
        ).all()
        reclaimed = []
        for job in running:
            expired = job.lease_until is None or job.lease_until < now
            if (expired and trust_expiry) or is_gone(job.lease_owner or ""):
                again = give_back_or_fail(
                    session, job, lost, context.settings.max_attempts, is_from_outside=True
                )
                reclaimed.append((job.id, job.kind, job.device, again))
    for job_id, kind, device, again in reclaimed:
        if again:
            context.queue.enqueue(job_id, kind, device)
        else:
            clean_up(context, job_id)
    return [job_id for job_id, *_ in reclaimed]


def clean_up_ended_jobs(context: AppContext) -> None:
    """Deletes what a worker that was killed right after a job's end had no time to delete."""
    for folder in context.storage.jobs.iterdir():
        if (folder / "checkpoints").exists() or any(folder.glob("attempt-*")):
            clean_up(context, folder.name)


def move_sweeps_on(context: AppContext) -> None:
    """Makes the moves of sweeps that a lost worker left unmade. One that cannot move holds up no other."""
    for sweep_id in list_running(context):
        try:
            advance(context, sweep_id)
        except LoupeError as error:
            logger.warning("sweep %s: %s", sweep_id, error.detail)


def announce_unclaimed_jobs(context: AppContext) -> int:
    """Publishes again the queued jobs that nobody has taken up for a while; returns how many.

    Only as many as the broker is short of, so that jobs waiting behind a long training do not pile up there.
    """
    waited = context.settings.dispatch_seconds
    with context.db.read() as session:
        now = session.scalar(select(db_now())) or 0.0
        queued = session.execute(
            select(Job.id, Job.kind, Job.device, Job.dispatched_at)
            .where(Job.status == "queued", Job.kind.in_(JOB_KINDS), is_dataset_there())
            .order_by(Job.id)
            .limit(BATCH)
        ).all()
    by_queue: dict[str, list[tuple[str, str, str, float | None]]] = defaultdict(list)
    for job_id, kind, device, dispatched_at in queued:
        by_queue[queue_for(kind, device)].append((job_id, kind, device, dispatched_at))
    announced = []
    for queue, jobs in by_queue.items():
        length = context.queue.length(queue)
        if length is None:
            continue
        stale = [job for *job, at in jobs if at is None or at < now - waited]
        for job_id, kind, device in stale[: max(0, len(jobs) - length)]:
            if context.queue.enqueue(job_id, kind, device):
                announced.append(job_id)
    if announced:
        with context.db.write() as session:
            session.execute(update(Job).where(Job.id.in_(announced)).values(dispatched_at=db_now()))
    return len(announced)
