"""GPUs: which there are, and which training has them.

A lease names the job and the fence of its claim, and is good as long as that job runs under that fence. So it
needs no heartbeat of its own and nobody has to give it back: it ends with the claim, however that ends.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import and_, select, update
from sqlalchemy.orm import Session

from app.db import upsert
from app.host.gpus import Gpu
from app.models import GpuLease, Job
from app.schemas.job_kinds import DEVICE_KINDS


@dataclass(frozen=True)
class Offer:
    """What a worker has for trainings: these GPUs, and whether it also trains on its processor."""

    gpus: tuple[Gpu, ...] = ()
    cpu: bool = True


CPU_ONLY = Offer()


class NoFreeGpuError(Exception):
    """Enough GPUs are there, but not free: the job stays queued."""


def lease_gpus(session: Session, job: Job, count: int, offered: Sequence[Gpu]) -> tuple[Gpu, ...]:
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


def _hold_rows(session: Session, keys: Sequence[str]) -> None:
    """Makes and locks a row for each GPU, in one order, so that two claims never wait for each other."""
    upsert(session, GpuLease, [{"gpu": key} for key in sorted(keys)], ("gpu",))


def _kept_for_older(session: Session, job: Job, offered: int) -> int:
    older = select(Job.gpus).where(
        Job.status == "queued",
        Job.kind.in_(DEVICE_KINDS),
        Job.device == "gpu",
        Job.gpus.between(2, offered),
        Job.id < job.id,
    )
    return session.scalar(older.order_by(Job.id).limit(1)) or 0
