"""Which checkpoints a job has recorded, and how to have them here."""

from __future__ import annotations

import logging
from itertools import takewhile
from pathlib import Path

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from app.errors import StorageDamagedError
from app.models import Job, JobEvent
from app.schemas.job_payloads import Payload
from app.storage.home import Storage

logger = logging.getLogger(__name__)


def recorded_attempts(storage: Storage, session: Session, job: Job) -> list[Path]:
    """The folders of attempts that recorded a checkpoint, newest first; in each the newest is tried first."""
    rows = session.scalars(
        select(JobEvent.data)
        .where(
            JobEvent.job_id == job.id,
            JobEvent.type == "checkpoint",
            JobEvent.number > Payload.model_validate(job.payload).forget_checkpoints_until,
        )
        .order_by(JobEvent.number.desc())
    )
    # By the name of the attempt: the host that made them may have had its home folder elsewhere.
    root = storage.job_checkpoints(job.id)
    return list(dict.fromkeys(root / Path(row["folder"]).parent.name for row in rows))


def count_unsaved_attempts(session: Session, job: Job) -> int:
    """Attempts before this one since the last checkpoint."""
    types = session.scalars(
        select(JobEvent.type)
        .where(
            JobEvent.job_id == job.id,
            or_(
                JobEvent.type == "checkpoint",
                and_(JobEvent.type == "status", JobEvent.data["status"].as_string() == "running"),
            ),
        )
        .order_by(JobEvent.number.desc())
        .limit(5)
    ).all()
    return max(0, len(list(takewhile(lambda kind: kind == "status", types))) - 1)


def download_newest_checkpoint(storage: Storage, attempts: list[Path]) -> None:
    """The newest that is whole; a damaged one is passed over for the one before, as on the disk."""
    for attempt in attempts:
        for checkpoint in reversed(storage.remote.list_whole(attempt)):
            try:
                storage.remote.download(checkpoint)
            except StorageDamagedError as error:
                logger.warning("%s The one before is tried.", error.detail)
            else:
                return
