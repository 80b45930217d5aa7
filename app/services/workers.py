"""Workers: who serves the queues, on what machine, and what they run.

Only to be looked at. A job's lease alone says who holds it: a worker that is missing here, such as one of an
older version, works all the same.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, select, update

from app import __version__
from app.context import AppContext
from app.models import Job, Worker
from app.models.base import db_now, new_id, utc_now
from app.schemas import worker as schemas
from app.schemas.common import Page
from app.services.pages import fetch_page

FORGET_SECONDS = 24 * 3600.0
"""A worker that was killed is shown as lost for a day, so that somebody sees it."""


@dataclass(frozen=True)
class Registration:
    """What a worker process says of itself; ``owner`` is the name under which it claims jobs."""

    id: str
    owner: str
    host: str
    pid: int
    queue: str
    concurrency: int
    devices: dict[str, Any]
    started_at: datetime

    @classmethod
    def new(
        cls, *, owner: str, host: str, pid: int, queue: str, concurrency: int, devices: dict[str, Any]
    ) -> Registration:
        return cls(new_id("wrk"), owner, host, pid, queue, concurrency, devices, utc_now())


def beat(context: AppContext, worker: Registration) -> None:
    """Says that the worker lives, registers it if it is not there, and forgets those long lost."""
    with context.db.write() as session:
        now = session.scalar(select(db_now())) or 0.0
        beaten = session.execute(
            update(Worker).where(Worker.id == worker.id).values(beat_at=now).returning(Worker.id)
        ).one_or_none()
        if beaten is None:
            session.add(Worker(**vars(worker), version=__version__, beat_at=now))
        session.execute(delete(Worker).where(Worker.beat_at < now - FORGET_SECONDS))


def leave(context: AppContext, worker_id: str) -> None:
    """The worker ends as it should."""
    with context.db.write() as session:
        session.execute(delete(Worker).where(Worker.id == worker_id))


def list_workers(context: AppContext, *, limit: int, after: str | None) -> Page[schemas.Worker]:
    with context.db.read() as session:
        now = session.scalar(select(db_now())) or 0.0
        jobs: dict[str | None, list[schemas.WorkerJob]] = defaultdict(list)
        for job in session.scalars(select(Job).where(Job.status == "running").order_by(Job.id)):
            jobs[job.lease_owner].append(
                schemas.WorkerJob(
                    id=job.id,
                    kind=job.kind,
                    product=job.product_id,
                    stage=job.stage,
                    fraction=job.progress.get("fraction"),
                )
            )

        def to_schema(row: Worker) -> schemas.Worker:
            age = max(0.0, now - row.beat_at)
            return schemas.Worker(
                id=row.id,
                status="alive" if age <= context.settings.lease_seconds else "lost",
                host=row.host,
                pid=row.pid,
                queue=row.queue,
                concurrency=row.concurrency,
                version=row.version,
                devices=schemas.WorkerDevices(**row.devices),
                jobs=jobs[row.owner],
                started_at=row.started_at,
                last_beat_at=datetime.fromtimestamp(row.beat_at, UTC),
                beat_age_seconds=round(age, 3),
            )

        return fetch_page(session, select(Worker), Worker.id, to_schema, limit=limit, after=after)
