"""GPUs: which there are, and which training has them.

A lease names the job and the fence of its claim, and is good as long as that job runs under that fence. So it
needs no heartbeat of its own and nobody has to give it back: it ends with the claim, however that ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, select, update
from sqlalchemy.orm import Session

from app import devices
from app.db import upsert
from app.job_queue import GPU_QUEUE, TRAINING_QUEUE
from app.models import GpuLease, Job, Worker
from app.models.base import db_now

LIVING_SECONDS = 60.0
"""A worker that has not beaten for so long is not counted on."""


@dataclass(frozen=True)
class Offer:
    """What a worker has for trainings: these GPUs, and whether it also trains on its processor."""

    gpus: tuple[devices.Gpu, ...] = ()
    cpu: bool = True


CPU_ONLY = Offer()


class NoFreeGpuError(Exception):
    """Enough GPUs are there, but not free: the job stays queued."""


def lease_gpus(
    session: Session, job: Job, count: int, offered: Sequence[devices.Gpu]
) -> tuple[devices.Gpu, ...]:
    """Gives ``count`` of the offered GPUs to a job that was claimed in this transaction.

    Raises NoFreeGpuError. An older job that waits for several GPUs has them kept free for it: each that was
    given to a younger one in between would make it wait for ever.
    """
    keys = [gpu.key for gpu in offered]
    # Of two claims at once the second waits here for the first, and what it reads below, in a statement of
    # its own, is what the first has committed.
    _hold_rows(session, keys)
    held = session.scalars(
        select(GpuLease.gpu)
        .join(Job, and_(Job.id == GpuLease.job_id, Job.fence == GpuLease.fence))
        .where(GpuLease.gpu.in_(keys), Job.status == "running")
    )
    free = set(keys) - set(held)
    if len(free) < count + _kept_for_older(session, job, len(offered)):
        raise NoFreeGpuError(job.id)
    chosen = tuple(gpu for gpu in offered if gpu.key in free)[:count]
    session.execute(
        update(GpuLease)
        .where(GpuLease.gpu.in_([gpu.key for gpu in chosen]))
        .values(job_id=job.id, fence=job.fence)
        .execution_options(synchronize_session=False)
    )
    return chosen


def waits_for(session: Session, job: Job) -> str | None:
    """What a queued training that asks for GPUs lacks; None where it is only a matter of its turn."""
    if job.status != "queued" or job.kind != "training" or job.device != "gpu":
        return None
    living = session.scalars(
        select(Worker.devices).where(
            Worker.beat_at > db_now() - LIVING_SECONDS, Worker.queue.in_((TRAINING_QUEUE, GPU_QUEUE))
        )
    )
    keys = [{gpu.get("key", gpu["id"]) for gpu in devices["gpus"]} for devices in living]
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


def _hold_rows(session: Session, keys: Sequence[str]) -> None:
    """Makes and locks a row for each GPU, in one order, so that two claims never wait for each other."""
    upsert(session, GpuLease, [{"gpu": key} for key in sorted(keys)], ("gpu",))


def _kept_for_older(session: Session, job: Job, offered: int) -> int:
    older = select(Job.gpus).where(
        Job.status == "queued",
        Job.kind == "training",
        Job.device == "gpu",
        Job.gpus.between(2, offered),
        Job.id < job.id,
    )
    return session.scalar(older.order_by(Job.id).limit(1)) or 0
