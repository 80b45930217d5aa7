"""What a job has left so far: its series, its events, its logs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.errors import NotFoundError
from app.models import Evaluation, Job, JobEpoch, JobEvent, JobStep
from app.schemas import job as schemas
from app.schemas.common import Page
from app.services.job_states import TERMINAL
from app.services.jobs import require_job
from app.storage.job_logs import download_logs

MOST_READ = 2**20
"""Bytes of a log that are held in memory at a time."""
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
            ignore_groups=bool((job.split or {}).get("ignore_groups")),
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
    """The whole lines of a growing log, each once, also when a new attempt at the job begins another file.

    ``has_more``: whether the last look left something, since it read as much as one may.
    """

    def __init__(self, tail: int | None) -> None:
        self._tail = tail
        self._path: Path | None = None
        self._lines = self._offset = 0
        self.has_more = False

    def read_on(self, context: AppContext, job_id: str, name: str) -> tuple[bytes, bool]:
        """What the log has got since the last call, and whether that is all that it will ever have."""
        # The state is read before the text, so that what the job wrote last is not missed.
        _, has_ended = list_events(context, job_id, after=2**31 - 1)
        text = self.read(get_log(context, job_id, name))
        return text, has_ended and not self.has_more

    def read(self, path: Path) -> bytes:
        """What ``path`` has got since the last call; at the first, its last lines or all of it."""
        self.has_more = False
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            if path != self._path and not self._begin(path, file):
                return b""
            file.seek(self._offset)
            data = file.read(MOST_READ)
        self.has_more = len(data) == MOST_READ
        # A line that is longer than what is read at once would never be whole.
        data = data[: data.rfind(b"\n") + 1] or (data if self.has_more else b"")
        self._lines += data.count(b"\n")
        self._offset += len(data)
        return data

    def _begin(self, path: Path, file: BinaryIO) -> bool:
        if self._path is None and self._tail is not None:
            self._lines = max(0, _count_lines(file) - self._tail)
        offset = _find_line(file, self._lines)
        if offset is None:
            return False  # a line is a step or an epoch: until the new attempt gets further, all were read
        self._path, self._offset = path, offset
        return True


def read_log(path: Path, tail: int | None) -> Iterator[bytes]:
    """The last ``tail`` lines of a log as it is now, or all of it; empty when there is no file yet."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        left = os.fstat(file.fileno()).st_size
        if tail is not None:
            begun = left > 0 and _ends_inside_a_line(file)
            first = _find_line(file, max(0, _count_lines(file) + begun - tail)) or 0
            left -= file.seek(first)
        while left > 0 and (data := file.read(min(left, MOST_READ))):
            left -= len(data)
            yield data


def _count_lines(file: BinaryIO) -> int:
    """How many whole lines it has."""
    file.seek(0)
    return sum(data.count(b"\n") for data in iter(lambda: file.read(MOST_READ), b""))


def _ends_inside_a_line(file: BinaryIO) -> bool:
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def _find_line(file: BinaryIO, number: int) -> int | None:
    """Where the line begins before which there are ``number``; None if it has fewer."""
    offset = file.seek(0)
    while number > 0:
        data = file.read(MOST_READ)
        found = data.count(b"\n")
        if not data:
            return None
        if found >= number:
            at = -1
            for _ in range(number):
                at = data.index(b"\n", at + 1)
            return offset + at + 1
        number -= found
        offset += len(data)
    return offset


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
