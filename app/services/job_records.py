"""What a job has left so far: its series, its events, its logs."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.errors import InvalidRequestError, NotFoundError
from app.models import Evaluation, Job, JobEpoch, JobEvent, JobStep
from app.schemas import job as schemas
from app.schemas.common import Page
from app.services.job_states import TERMINAL
from app.services.jobs import require_job
from app.storage.job_logs import download_logs

LOG_NAMES = ("training_result.log", "training_result_step.log", "test_result.log")


def get_metrics(
    context: AppContext, job_id: str, *, since: int = 0, max_points: int = 2000
) -> schemas.JobMetrics:
    """The series after step ``since``; steps are thinned evenly to ``max_points``, the newest always kept."""
    with context.db.read() as session:
        job = require_job(session, job_id)
        newest, count = session.execute(
            select(func.max(JobStep.step), func.count()).where(JobStep.job_id == job_id, JobStep.step > since)
        ).one()
        epochs = session.scalars(
            select(JobEpoch).where(JobEpoch.job_id == job_id, JobEpoch.step > since).order_by(JobEpoch.epoch)
        )
        return schemas.JobMetrics(
            job=job_id,
            status=job.status,
            epochs=[schemas.EpochPoint.model_validate(row, from_attributes=True) for row in epochs],
            steps=_thinned_steps(session, job_id, since, newest, count, max_points),
            best=schemas.BestEpoch(**job.best) if job.best else None,
            test=_test_summary(session, job),
            last_step=newest if newest is not None else since,
        )


def list_events(
    context: AppContext, job_id: str, *, after: int = 0, limit: int = 100
) -> tuple[Page[schemas.JobEvent], bool]:
    """The events after number ``after``, oldest first, and whether no more can follow."""
    with context.db.read() as session:
        job = require_job(session, job_id)
        rows = session.scalars(
            select(JobEvent)
            .where(JobEvent.job_id == job_id, JobEvent.number > after)
            .order_by(JobEvent.number)
            .limit(limit + 1)
        ).all()
        shown = rows[:limit]
        has_more = len(rows) > limit
        page = Page[schemas.JobEvent](
            data=[schemas.JobEvent.model_validate(row, from_attributes=True) for row in shown],
            has_more=has_more,
            next_cursor=str(shown[-1].number) if has_more else None,
        )
        return page, job.status in TERMINAL and not has_more


def list_logs(context: AppContext, job_id: str) -> list[schemas.LogFile]:
    with context.db.read() as session:
        require_job(session, job_id)
    folder = download_logs(context.storage, job_id)
    paths = [_newest(folder, name) for name in LOG_NAMES]
    return [schemas.LogFile(name=path.name, bytes=path.stat().st_size) for path in paths if path.is_file()]


def get_log(context: AppContext, job_id: str, name: str) -> Path:
    """The file of a log: it may still grow, and a new attempt at the job begins another.

    A path without a file stands for a log that is not begun yet.
    """
    if name not in LOG_NAMES:
        raise NotFoundError(f"There is no log {name!r}.", hint=f"Logs: {', '.join(LOG_NAMES)}.")
    with context.db.read() as session:
        require_job(session, job_id)
    return _newest(download_logs(context.storage, job_id), name)


class FollowedLog:
    """The whole lines of a growing log, each once, also when a new attempt at the job begins another file."""

    def __init__(self, tail: int | None) -> None:
        self._tail = tail
        self._path: Path | None = None
        self._lines = self._offset = 0

    def read(self, path: Path) -> str:
        """What ``path`` has got since the last call; at the first, its last lines or all of it."""
        if not path.is_file():
            return ""
        if path != self._path:
            data = path.read_bytes()
            before = data[: data.rfind(b"\n") + 1].splitlines(keepends=True)
            if self._path is None:
                self._lines = 0 if self._tail is None else max(0, len(before) - self._tail)
            if len(before) < self._lines:
                return ""  # a line is a step or an epoch: until the new attempt gets further, all were read
            self._path, self._offset = path, sum(map(len, before[: self._lines]))
        with path.open("rb") as file:
            file.seek(self._offset)
            data = file.read()
        data = data[: data.rfind(b"\n") + 1]
        self._lines += data.count(b"\n")
        self._offset += len(data)
        return data.decode("utf-8", errors="replace")


def tail(path: Path, lines: int | None) -> str:
    """The last ``lines`` lines of a text file, or all of it; empty when there is no file yet."""
    if lines is not None and lines < 1:
        raise InvalidRequestError("tail must be at least 1.")
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    return text if lines is None else "".join(text.splitlines(keepends=True)[-lines:])


def _newest(folder: Path, name: str) -> Path:
    """Each attempt writes logs of its own, so that one that was thought dead cannot write into them."""
    return max(folder.glob(f"*/{name}"), default=folder / name)


def _thinned_steps(
    session: Session, job_id: str, since: int, newest: int | None, count: int, max_points: int
) -> list[schemas.StepPoint]:
    query = select(JobStep).where(JobStep.job_id == job_id, JobStep.step > since)
    if count > max_points:
        stride = -(-count // max_points)
        query = query.where((newest - JobStep.step) % stride == 0)
    return [
        schemas.StepPoint.model_validate(row, from_attributes=True)
        for row in session.scalars(query.order_by(JobStep.step))
    ]


def _test_summary(session: Session, job: Job) -> dict[str, object] | None:
    report = session.scalar(
        select(Evaluation.report).where(Evaluation.job_id == job.id, Evaluation.is_final_test).limit(1)
    )
    return {"items": report["items"], **report["metrics"]} if report else None
