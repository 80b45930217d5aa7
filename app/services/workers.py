"""Workers: who serves the queues, on what machine, and what they run.

Only to be looked at. A job's lease alone says who holds it: a worker that is missing here, such as one of an
older version, works all the same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, delete, func, select, update
from sqlalchemy.orm import Session

from app import __version__
from app.context import AppContext
from app.errors import ConflictError
from app.job_queue import CPU_QUEUE, GPU_QUEUE, QUEUES, TASK_QUEUE, TRAINING_QUEUE, queue_for
from app.models import Dataset, GpuLease, Job, Worker
from app.models.base import db_now, new_id, utc_now
from app.schemas import worker as schemas
from app.schemas.common import Page
from app.schemas.job_kinds import DEVICE_KINDS, JOB_KINDS, KNOWN_TO_FIRST_RELEASE
from app.schemas.job_payloads import SINCE_FIRST_RELEASE
from app.services.dataset_states import is_dataset_there
from app.services.pages import fetch_page

LIVING_SECONDS = 60.0
"""A worker that has not beaten for so long is not counted on."""
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
    kinds: list[str]
    started_at: datetime

    @classmethod
    def new(
        cls, *, owner: str, host: str, pid: int, queue: str, concurrency: int, devices: dict[str, Any]
    ) -> Registration:
        kinds = sorted(JOB_KINDS)
        return cls(new_id("wrk"), owner, host, pid, queue, concurrency, devices, kinds, utc_now())


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


def require_workers_for(session: Session, job: Job) -> None:
    """Raises ConflictError while a living worker of an older release would misread a job that is queued."""
    require_workers_that_know(session, job.kind)
    unread = sorted(SINCE_FIRST_RELEASE & (job.payload or {}).keys())
    if not job.is_planned:
        unread.append("trainings that wait for their dataset")
    if unread:
        queues = QUEUES if job.kind in DEVICE_KINDS else [TASK_QUEUE]
        require_no_first_release_worker(session, queues, " and ".join(unread))


def require_workers_that_know(session: Session, kind: str) -> None:
    """Raises ConflictError while a living worker of an older release would take such a job for another."""
    living = session.scalars(select(Worker).where(Worker.beat_at > db_now() - LIVING_SECONDS))
    for worker in living:
        known = KNOWN_TO_FIRST_RELEASE if worker.kinds is None else worker.kinds
        if kind not in known:
            raise ConflictError(
                f"The worker {worker.id} on {worker.host} runs an older release ({worker.version}), "
                f"which does not know {JOB_KINDS[kind].plural}.",
                hint="Upgrade the workers first, then send the request again. `GET /workers` lists them.",
            )


def require_no_first_release_worker(session: Session, queues: Collection[str], what: str) -> None:
    """Raises ConflictError while a living worker of the first release, which ignores ``what``."""
    if has_first_release_worker(session, queues):
        raise ConflictError(
            f"A worker of the first release is running, and it does not know {what}.",
            hint="Upgrade the workers first, then send the request again. `GET /workers` lists them.",
        )


def has_first_release_worker(session: Session, queues: Collection[str]) -> bool:
    """Whether a living worker on one of ``queues`` is of the first release."""
    query = select(Worker.id).where(
        Worker.beat_at > db_now() - LIVING_SECONDS, Worker.kinds.is_(None), Worker.queue.in_(queues)
    )
    return session.scalar(query.limit(1)) is not None


def waits_for(session: Session, job: Job) -> str | None:
    """What a job lacks: its dataset, a worker, GPUs, or its sweep's word. None where only its turn has to
    come.
    """
    if job.status == "paused" and job.sweep_id is not None:
        return f"Sweep {job.sweep_id} decides when it goes on."
    if job.status != "queued":
        return None
    if job.kind not in DEVICE_KINDS:
        return _lacks_worker(session, TASK_QUEUE)
    dataset = session.get(Dataset, job.dataset_id)
    if not job.is_planned and dataset is not None and dataset.status == "importing":
        return f"Dataset {job.dataset} is still importing."
    if job.device != "gpu":
        return _lacks_worker(session, queue_for(job.kind, job.device))
    keys = _list_gpus(session)
    most = max(map(len, keys), default=0)
    if most == 0:
        return "A worker with a GPU: none is running."
    if most < job.gpus:
        return f"A worker with {job.gpus} GPUs: the most that one running has is {most}."
    held = set(
        session.scalars(
            select(GpuLease.gpu)
            .join(Job, and_(Job.id == GpuLease.job_id, Job.fence == GpuLease.fence))
            .where(Job.status == "running")
        )
    )
    if all(len(of_one - held) < job.gpus for of_one in keys):
        return "A free GPU: all are in use." if job.gpus == 1 else f"{job.gpus} free GPUs of one worker."
    return None


_TAKERS = {
    TASK_QUEUE: (TASK_QUEUE,),
    CPU_QUEUE: (TRAINING_QUEUE, CPU_QUEUE),
    TRAINING_QUEUE: (TRAINING_QUEUE, GPU_QUEUE),
}
"""Workers of which queues take the jobs of each; the first is the one to start where none runs."""


def _lacks_worker(session: Session, queue: str) -> str | None:
    living = set(session.scalars(select(Worker.queue).where(Worker.beat_at > db_now() - LIVING_SECONDS)))
    if living.intersection(_TAKERS[queue]):
        return None
    state = "none that takes this job is running" if living else "none is running"
    return (
        f"A worker: {state}. `loupe up` starts all of Loupe, `loupe worker --queue {_TAKERS[queue][0]}` a "
        "worker beside an API that runs."
    )


def place_of(session: Session, job: Job) -> int | None:
    """Which a queued job is among those that could start and that the same workers take; from 1, None for
    others.
    """
    if job.status != "queued":
        return None
    of_queue = Job.kind.in_(DEVICE_KINDS) if job.kind in DEVICE_KINDS else Job.kind.not_in(DEVICE_KINDS)
    before = select(func.count()).where(Job.status == "queued", of_queue, Job.id < job.id, is_dataset_there())
    return int(session.scalar(before) or 0) + 1


def has_gpus(session: Session) -> bool:
    """Whether a worker that runs has a GPU for trainings."""
    return any(_list_gpus(session))


def _list_gpus(session: Session) -> list[set[str]]:
    """The GPUs of each worker that runs and takes trainings which may need one."""
    living = session.scalars(
        select(Worker.devices).where(
            Worker.beat_at > db_now() - LIVING_SECONDS, Worker.queue.in_((TRAINING_QUEUE, GPU_QUEUE))
        )
    )
    return [{gpu.get("key", gpu["id"]) for gpu in devices["gpus"]} for devices in living]
