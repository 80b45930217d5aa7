"""Uploads on their way from the host that received them to the storage that hosts share."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from pathlib import Path

from sqlalchemy import select

from app.context import AppContext
from app.models import Job
from app.schemas.job_kinds import UPLOAD_READERS
from app.schemas.job_payloads import UploadPayload
from app.services.job_lifecycle import needs_upload

logger = logging.getLogger(__name__)

UNKNOWN_SECONDS = 3600.0
"""A file that no job names may be one that still comes in, or whose row is about to be written."""


def send_uploads(context: AppContext) -> None:
    """Uploads what imports will read from this home folder, and deletes here what is up or needed no more.

    Begins again where an earlier call or process was cut off. Raises UnavailableError.
    """
    uploads = sorted(context.storage.scratch.glob("upload-*"))
    if not uploads:
        return
    jobs = _find_jobs(context, uploads)
    for path in uploads:
        job = jobs.get(path)
        if job is None:
            _remove_unknown(context, path)
            continue
        if needs_upload(job):
            _upload(context, path)
        _let_go(context, path, job.id)


def _find_jobs(context: AppContext, uploads: Collection[Path]) -> dict[Path, Job]:
    """The job of each upload that has one, whatever became of it."""
    # Whole paths are those of rows that are older than the shared storage.
    paths = {name: path for path in uploads for name in (context.storage.relative(path), str(path))}
    source = Job.payload["source"].as_string()
    with context.db.read() as session:
        jobs = session.scalars(select(Job).where(Job.kind.in_(UPLOAD_READERS), source.in_(paths)))
        return {paths[UploadPayload.model_validate(job.payload).source]: job for job in jobs}


def _remove_unknown(context: AppContext, path: Path) -> None:
    try:
        is_old = time.time() - path.stat().st_mtime > UNKNOWN_SECONDS
    except FileNotFoundError:
        return
    if is_old:
        context.storage.remove(path)


def _upload(context: AppContext, path: Path) -> None:
    remote = context.storage.remote
    if not remote.has(path):
        try:
            remote.upload(path)
        except FileNotFoundError:
            logger.info("%s: its job ended while it was uploaded", path.name)
        else:
            logger.info("%s is in the shared storage", path.name)


def _let_go(context: AppContext, path: Path, job_id: str) -> None:
    """Deletes the file here, unless a worker may be reading it: with the row held, none can begin to.

    A job that ended meanwhile needs it nowhere.
    """
    with context.db.write() as session:
        job = session.scalar(select(Job).where(Job.id == job_id).with_for_update())
        if job is not None and job.status == "running":
            return
        context.storage.remove(path)
        is_needed = job is not None and needs_upload(job)
    if not is_needed:
        context.storage.discard(path)
