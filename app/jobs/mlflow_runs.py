"""Trainings for an MLflow server: find one that has ended and was not sent, send it, write down what came.

Nothing here belongs to a job's own transactions: what ended is found afterwards, also after any number of
restarts, and a server that is away holds up nothing but what is sent to it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import and_, delete, exists, select, update
from sqlalchemy.exc import IntegrityError

from app import __version__, child
from app.context import AppContext
from app.errors import LoupeError
from app.host import failpoints
from app.models import Job, MlflowRun, TrainedModel
from app.models.base import db_now
from app.schemas.job import JobMetrics
from app.schemas.job_kinds import MODEL_MAKERS
from app.schemas.message import parse_message
from app.services.job_records import get_metrics
from app.services.job_states import TERMINAL, append_event
from app.step_times import StepTimes
from app.storage.model_folders import download_model
from app.tracking.spec import Point, RunSpec, SentRun

logger = logging.getLogger(__name__)

SCHEDULE_SECONDS = (5, 60, 300, 1800, 7200, 18_000, 36_000, 86_400)
"""From each failure to the next attempt; from then on once a day."""
JITTER = 0.1
SEND_SECONDS = 900.0
"""A model of some 100 MB over a slow line; past this the process is ended."""
CLAIM_SECONDS = 2 * SEND_SECONDS
"""The model may have to come from the storage that hosts share first."""
MOST_STEPS = 1000
"""Points of each series of steps; thinned evenly."""
MOST_FOUND = 100
POLL_SECONDS = 0.2
EVENT = "mlflow"
MODULE = "app.tracking"
STATUSES: Mapping[str, Literal["FINISHED", "FAILED", "KILLED"]] = {
    "succeeded": "FINISHED",
    "failed": "FAILED",
    "cancelled": "KILLED",
}
_UNUSUAL = re.compile(r"[^/\w.\- :]")
_ROOT = str(Path(__file__).parents[2])


@dataclass(frozen=True)
class Claim:
    """The right to send one training: void once it has had another attempt."""

    job_id: str
    ended_at: datetime
    attempt: int


@dataclass(frozen=True)
class Outcome:
    """``error``: a sentence; None where the run is whole. ``sent`` is None then."""

    sent: SentRun | None
    error: str | None


def find_ended(context: AppContext) -> None:
    """Notes which trainings have ended since, also those from before there was a server to send to."""
    known = exists().where(MlflowRun.job_id == Job.id, MlflowRun.ended_at == Job.finished_at)
    ended = (
        select(Job.id, Job.finished_at)
        .where(Job.kind.in_(MODEL_MAKERS), Job.status.in_(TERMINAL), Job.started_at.is_not(None), ~known)
        .order_by(Job.id)
        .limit(MOST_FOUND)
    )
    with context.db.read() as session:
        found = session.execute(ended).all()
    if not found:
        return
    # Another worker may note the same at this moment.
    with contextlib.suppress(IntegrityError), context.db.write() as session:
        for job_id, ended_at in found:
            assert ended_at is not None
            run = session.get(MlflowRun, job_id) or MlflowRun(job_id=job_id)
            run.ended_at, run.attempts, run.run_id, run.error = ended_at, 0, None, None
            run.next_attempt_at = session.scalars(select(db_now())).one()
            session.add(run)


def claim_due(context: AppContext) -> Claim | None:
    """Takes the training that is due for longest."""
    due = select(MlflowRun.job_id).where(MlflowRun.next_attempt_at <= db_now())
    with context.db.read() as session:
        job_id = session.scalar(due.order_by(MlflowRun.next_attempt_at).limit(1))
    if job_id is None:
        return None
    with context.db.write() as session:
        taken = session.execute(
            update(MlflowRun)
            .where(MlflowRun.job_id == job_id, MlflowRun.next_attempt_at <= db_now())
            .values(attempts=MlflowRun.attempts + 1, next_attempt_at=db_now() + CLAIM_SECONDS)
            .returning(MlflowRun.ended_at, MlflowRun.attempts)
            .execution_options(synchronize_session=False)
        ).one_or_none()
    return None if taken is None else Claim(job_id, taken.ended_at, taken.attempts)


def send(context: AppContext, claim: Claim, shutdown: threading.Event) -> None:
    """Makes the attempt. One that a shutdown or an outage of the database cuts off is made again."""
    try:
        spec = describe(context, claim)
        if spec is None:
            _forget(context, claim)
            return
        ran = _run(context, spec, shutdown)
        if ran is None:
            return
        outcome = ran
    except LoupeError as error:
        outcome = Outcome(None, error.detail)
    except Exception as error:
        # Settled as a failure, lest this one keeps the others waiting and comes back before its time.
        logger.exception("mlflow: job %s could not be sent", claim.job_id)
        outcome = Outcome(None, f"{type(error).__name__}: {error}"[:1000])
    failpoints.pass_by("mlflow.sent")
    _settle(context, claim, outcome)


def forget_deleted_jobs(context: AppContext) -> None:
    with context.db.write() as session:
        session.execute(delete(MlflowRun).where(MlflowRun.job_id.not_in(select(Job.id))))


def describe(context: AppContext, claim: Claim) -> RunSpec | None:
    """The training as a run. None where the job was deleted, or was retried and runs again."""
    uri = context.settings.mlflow_tracking_uri
    assert uri is not None
    with context.db.read() as session:
        job = session.get(Job, claim.job_id)
        if job is None or job.finished_at != claim.ended_at or job.started_at is None:
            return None
        model = session.scalar(select(TrainedModel).where(TrainedModel.job_id == job.id))
    metrics = get_metrics(context, job.id, max_points=MOST_STEPS)
    folder = None
    if model is not None:
        folder = context.storage.absolute(model.folder)
        download_model(context.storage, folder, model.digest)
    return RunSpec(
        tracking_uri=uri,
        experiment=f"loupe/{job.product_id}",
        name=job.id,
        key=f"{job.id} {claim.ended_at.isoformat()}",
        status=STATUSES[job.status],
        started_ms=_milliseconds(job.started_at.timestamp()),
        ended_ms=_milliseconds(claim.ended_at.timestamp()),
        params=_params(job),
        tags=_tags(job, model),
        points=tuple(_points(metrics, job.started_at.timestamp())),
        model=folder,
    )


def _params(job: Job) -> dict[str, str]:
    values = {
        "network": job.network,
        "dataset": job.dataset_id,
        "device": job.device,
        "gpus": job.gpus,
        "split.seed": (job.split or {}).get("seed"),
        **(job.hyperparameters or {}),
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def _tags(job: Job, model: TrainedModel | None) -> dict[str, str]:
    values: dict[str, Any] = {
        "mlflow.source.name": f"Loupe {__version__}",
        "loupe.job": job.id,
        "loupe.product": job.product_id,
        "loupe.sweep": job.sweep_id,
        "loupe.stop_reason": job.stop_reason,
        "loupe.error": (job.error or {}).get("code"),
        "loupe.passed_gate": (job.gate or {}).get("passed"),
        "loupe.model": model and model.id,
        "loupe.model_version": model and model.version,
        "loupe.model_digest": model and model.digest,
        **{f"metadata.{_UNUSUAL.sub('_', name)}": value for name, value in job.annotations.items()},
    }
    return {name: str(value) for name, value in values.items() if value is not None}


def _points(metrics: JobMetrics, started: float) -> Iterator[Point]:
    times = StepTimes(started, [(epoch.step, epoch.seconds) for epoch in metrics.epochs])

    def points(values: Mapping[str, Any], number: int, step: int) -> Iterator[Point]:
        at = _milliseconds(times.at(step))
        for key, value in values.items():
            if value is not None:
                yield Point(key=key, value=float(value), step=number, at_ms=at)

    for row in metrics.steps:
        yield from points({"step_loss": row.loss, "step_accuracy": row.accuracy}, row.step, row.step)
    for epoch in metrics.epochs:
        names = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "learning_rate")
        yield from points({name: getattr(epoch, name) for name in names}, epoch.epoch, epoch.step)
    last = max((epoch.epoch for epoch in metrics.epochs), default=0)
    for name, found in (metrics.test or {}).items():
        estimate = found if isinstance(found, Mapping) else {"value": found}
        values = {f"test_{name}": estimate["value"]}
        values |= {f"test_{name}_{end}": estimate.get(end) for end in ("low", "high")}
        yield from points(values, last, metrics.last_step)


def _run(context: AppContext, spec: RunSpec, shutdown: threading.Event) -> Outcome | None:
    """In a process of its own, which may hang, grow or die. None where this one is shutting down."""
    with context.storage.scratch_folder("mlflow") as folder:
        child.write_message(folder / child.SPEC, spec)
        with (
            (folder / "process.log").open("wb") as output,
            subprocess.Popen(
                [sys.executable, "-m", MODULE, str(folder)],
                stdin=subprocess.PIPE,  # stays open while this process lives: its end ends the child
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=_environment(),
            ) as process,
        ):
            try:
                deadline = time.monotonic() + SEND_SECONDS
                while (code := process.poll()) is None and time.monotonic() < deadline:
                    if shutdown.wait(POLL_SECONDS):
                        return None
            finally:
                process.kill()
        if code is None:
            return Outcome(None, f"It took more than {SEND_SECONDS:g} s.")
        if code == child.ExitCode.SUCCEEDED:
            sent = parse_message(SentRun, (folder / child.RESULT).read_bytes(), child.RESULT)
            return Outcome(sent, None)
        error = child.read_error(folder)
        logger.debug("mlflow: %s", (folder / "process.log").read_text("utf-8", "replace")[-4000:])
        reason = error["detail"] if error is not None else f"The process ended with the status {code}."
        return Outcome(None, str(reason)[:1000])


def _environment() -> dict[str, str]:
    """What MLflow reads, such as its passwords and proxies, and nothing of Loupe's own secrets."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("LOUPE_")}
    quiet = {
        # Nothing is sent to anybody else.
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # It is tried again from here.
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
        "GIT_PYTHON_REFRESH": "quiet",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return {**quiet, **own, "PYTHONPATH": _ROOT}


def _settle(context: AppContext, claim: Claim, outcome: Outcome) -> None:
    """Writes down what came of an attempt, unless a newer one has begun. The job's events say it once."""
    with context.db.write() as session:
        held = session.execute(
            update(MlflowRun)
            .where(
                MlflowRun.job_id == claim.job_id,
                MlflowRun.ended_at == claim.ended_at,
                MlflowRun.attempts == claim.attempt,
            )
            .values(
                error=outcome.error,
                run_id=outcome.sent and outcome.sent.run_id,
                next_attempt_at=None if outcome.sent else db_now() + _wait_seconds(claim.attempt),
            )
            .returning(MlflowRun.job_id)
            .execution_options(synchronize_session=False)
        ).one_or_none()
        job = session.get(Job, claim.job_id)
        if held is None or job is None:
            return
        if outcome.sent is not None:
            ids = {"run": outcome.sent.run_id, "experiment": outcome.sent.experiment_id}
            append_event(session, job, EVENT, status="sent", **ids)
        elif claim.attempt == 1:
            append_event(session, job, EVENT, status="waiting", detail=outcome.error)
    if outcome.error is not None:
        logger.warning("mlflow: job %s: %s It is sent again.", claim.job_id, outcome.error)


def _wait_seconds(attempt: int) -> float:
    wait = SCHEDULE_SECONDS[min(attempt, len(SCHEDULE_SECONDS)) - 1]
    return wait * (1 + random.uniform(-JITTER, JITTER))


def _forget(context: AppContext, claim: Claim) -> None:
    """A job that is retried comes again when it ends."""
    of_claim = and_(MlflowRun.job_id == claim.job_id, MlflowRun.ended_at == claim.ended_at)
    with context.db.write() as session:
        session.execute(delete(MlflowRun).where(of_claim))


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
