"""The state of the whole Loupe in numbers, read from the database: what every API process tells alike."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.job_queue import queue_for
from app.models import Alias, Dataset, Job, JobEvent, Product, TrainedModel, Worker
from app.models.alias import CHAMPION
from app.models.base import db_now, seconds_between, utc_now
from app.schemas.job_kinds import JOB_KINDS
from app.services.job_states import TERMINAL

DURATION_BUCKETS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 4 * 3600.0, 12 * 3600.0, 48 * 3600.0)
"""Seconds from the first start of a job to its end."""


@dataclass
class Durations:
    """How many ended jobs took at most so long, one count for each of DURATION_BUCKETS, and all together."""

    at_most: list[int]
    count: int
    seconds: float


@dataclass
class Statistics:
    jobs: dict[tuple[str, str], int] = field(default_factory=dict)
    """By kind and status."""
    durations: dict[tuple[str, str], Durations] = field(default_factory=dict)
    failures: dict[tuple[str, str], int] = field(default_factory=dict)
    """Failed jobs by kind and code of the error."""
    oldest_queued_seconds: dict[str, float] = field(default_factory=dict)
    """By queue: how long the job that has waited longest has waited."""
    lease_age_seconds: dict[str, float] = field(default_factory=dict)
    """By kind: time since the oldest beat of a running job."""
    images_per_second: float = 0.0
    workers: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """By queue, status and version."""
    slots: dict[str, int] = field(default_factory=dict)
    """By queue: jobs that its living workers run at a time."""
    datasets: dict[str, int] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)
    """By product."""
    champion_accuracy: dict[str, float] = field(default_factory=dict)


def gather_statistics(context: AppContext) -> Statistics:
    """A snapshot by a handful of aggregates; UnavailableError when the database does not answer."""
    found = Statistics()
    with context.db.read() as session:
        now = session.scalar(select(db_now())) or 0.0
        _count_jobs(session, found)
        _measure_waiting(session, found)
        _measure_running(session, found, now, context.settings.lease_seconds)
        _count_workers(session, found, now, context.settings.lease_seconds)
        _count_models(session, found)
    return found


def _count_jobs(session: Session, found: Statistics) -> None:
    took = seconds_between(Job.started_at, Job.finished_at)
    within = [func.sum(case((took <= limit, 1), else_=0)) for limit in DURATION_BUCKETS]
    rows = session.execute(
        select(Job.kind, Job.status, func.count(), func.count(took), func.sum(took), *within).group_by(
            Job.kind, Job.status
        )
    )
    for kind, status, count, timed, seconds, *at_most in rows:
        found.jobs[kind, status] = count
        if status in TERMINAL and timed:
            found.durations[kind, status] = Durations([int(value) for value in at_most], timed, seconds)
    code = Job.error["code"].as_string()
    failures = select(Job.kind, code, func.count()).where(Job.status == "failed").group_by(Job.kind, code)
    for kind, error_code, count in session.execute(failures):
        found.failures[kind, error_code or "unknown"] = count


def _measure_waiting(session: Session, found: Statistics) -> None:
    """A job that was given back has waited since then, not since it was made."""
    queued = (
        select(Job.kind, Job.device, func.max(JobEvent.created_at).label("since"))
        .join(JobEvent, (JobEvent.job_id == Job.id) & (JobEvent.type == "status"))
        # The queue of a kind that a newer release added is not known here.
        .where(Job.status == "queued", Job.kind.in_(JOB_KINDS))
        .group_by(Job.id, Job.kind, Job.device)
        .subquery()
    )
    now = utc_now()
    oldest = select(queued.c.kind, queued.c.device, func.min(queued.c.since))
    for kind, device, since in session.execute(oldest.group_by(queued.c.kind, queued.c.device)):
        queue = queue_for(kind, device)
        age = max(timedelta(), now - since).total_seconds()
        found.oldest_queued_seconds[queue] = max(age, found.oldest_queued_seconds.get(queue, 0.0))


def _measure_running(session: Session, found: Statistics, now: float, lease_seconds: float) -> None:
    running = select(Job.kind, Job.lease_until, Job.progress).where(Job.status == "running")
    for kind, lease_until, progress in session.execute(running):
        age = max(0.0, now - ((lease_until or 0.0) - lease_seconds))
        found.lease_age_seconds[kind] = max(age, found.lease_age_seconds.get(kind, 0.0))
        found.images_per_second += progress.get("images_per_second") or 0.0


def _count_workers(session: Session, found: Statistics, now: float, lease_seconds: float) -> None:
    workers: dict[tuple[str, str, str], int] = defaultdict(int)
    slots: dict[str, int] = defaultdict(int)
    for queue, version, concurrency, beat_at in session.execute(
        select(Worker.queue, Worker.version, Worker.concurrency, Worker.beat_at)
    ):
        is_alive = now - beat_at <= lease_seconds
        workers[queue, "alive" if is_alive else "lost", version] += 1
        slots[queue] += concurrency if is_alive else 0
    found.workers, found.slots = dict(workers), dict(slots)


def _count_models(session: Session, found: Statistics) -> None:
    datasets = select(Dataset.status, func.count()).group_by(Dataset.status)
    found.datasets = dict(session.execute(datasets).all())
    models = (
        select(Product.id, func.count(TrainedModel.id))
        .outerjoin(TrainedModel, TrainedModel.product_id == Product.id)
        .group_by(Product.id)
    )
    found.models = dict(session.execute(models).all())
    accuracy = TrainedModel.metrics["accuracy"]["value"].as_float()
    champions = (
        select(Alias.product_id, accuracy)
        .join(TrainedModel, TrainedModel.id == Alias.model_id)
        .where(Alias.name == CHAMPION)
    )
    found.champion_accuracy = {
        product: value for product, value in session.execute(champions) if value is not None
    }
