"""Removes what nobody needs and no job's end removed: in this home folder, in the shared storage.

An outage of the storage at a job's end, a request that was cut off, a job that was deleted from another host:
each may leave files. Whatever is younger than an hour is left alone, since its row may not be written yet.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from sqlalchemy import delete, select
from ulid import ULID

from app.context import AppContext
from app.models import AuditRecord, Dataset, IdempotencyKey, Job, TrainedModel, Upload
from app.models.base import utc_now
from app.schemas.job_kinds import UPLOAD_READERS
from app.services.job_lifecycle import clean_up, find_upload, needs_upload
from app.services.job_states import TERMINAL
from app.storage.paths import PIECES

logger = logging.getLogger(__name__)

YOUNG_SECONDS = 3600.0
SCRATCH_SECONDS = 86_400.0
RECENT = timedelta(hours=3)
BATCH = 1000
TABLES: dict[str, type[Job | TrainedModel | Dataset | Upload]] = {
    "job_": Job,
    "mdl_": TrainedModel,
    "dst_": Dataset,
    "upl_": Upload,
}


def clean_home(context: AppContext) -> None:
    """Deletes from a home folder that is this host's alone what ended or was deleted elsewhere."""
    storage = context.storage
    names = [folder.name for folder in storage.jobs.iterdir()]
    for name in find_unknown(context, names, "job_"):
        storage.remove(storage.job(name))
    for name in find_unknown(context, [folder.name for folder in storage.models.iterdir()], "mdl_"):
        storage.remove(storage.models / name)
    clean_scratch(context)


def clean_scratch(context: AppContext) -> None:
    """Deletes from this home folder what lay in scratch for long: what was cut off left it there."""
    storage = context.storage
    old = [path for path in storage.scratch.iterdir() if has_lain_long(path)]
    unneeded = _unneeded(context, [path.name for path in old])
    for path in old:
        # An upload that an import needs may have waited for the storage all the time.
        if path.name in unneeded or storage.remote.has(path):
            storage.remove(path)


def clean_storage(context: AppContext) -> None:
    """Deletes from the shared storage what belongs to no job, and what ended jobs need no more."""
    storage = context.storage
    jobs = storage.remote.list_names(storage.jobs)
    models = storage.remote.list_names(storage.models)
    uploads = storage.remote.list_names(storage.scratch)
    for folder, names, prefix in ((storage.jobs, jobs, "job_"), (storage.models, models, "mdl_")):
        for name in find_unknown(context, names, prefix):
            logger.info("garbage: %s/%s is of no job", folder.name, name)
            storage.discard(folder / name)
    for name in find_unknown(context, storage.remote.list_datasets(), "dst_"):
        logger.info("garbage: dataset %s was deleted", name)
        storage.discard_dataset(name)
    for job_id in _ended_recently(context, jobs):
        clean_up(context, job_id)
    for name in _unneeded(context, uploads):
        if _age(name.removeprefix("upload-")) > YOUNG_SECONDS:
            storage.discard(storage.scratch / name)


def forget_uploads(context: AppContext) -> None:
    """Deletes uploads that nobody went on with in time, and pieces of those that went with their key."""
    storage = context.storage
    with context.db.write() as session:
        ids = list(session.scalars(select(Upload.id).where(Upload.expires_at < utc_now())))
        session.execute(delete(Upload).where(Upload.id.in_(ids)))
    there = [name.removeprefix(PIECES) for name in storage.remote.list_names(storage.scratch)]
    for upload in {*ids, *find_unknown(context, [name for name in there if name.startswith("upl_")], "upl_")}:
        storage.discard(storage.pieces(upload))


def forget_requests(context: AppContext) -> None:
    """Deletes the idempotency keys that are older than the setting says."""
    oldest = utc_now() - timedelta(days=context.settings.idempotency_key_days)
    with context.db.write() as session:
        session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < oldest))


def forget_audit_records(context: AppContext) -> None:
    """Deletes the audit records that are older than the setting says, a batch in each transaction."""
    oldest = utc_now() - timedelta(days=context.settings.audit_days)
    old = select(AuditRecord.id).where(AuditRecord.created_at < oldest).limit(BATCH)
    while True:
        with context.db.write() as session:
            ids = session.scalars(old).all()
            session.execute(delete(AuditRecord).where(AuditRecord.id.in_(ids)))
        if len(ids) < BATCH:
            return


def find_unknown(context: AppContext, names: Iterable[str], prefix: str) -> list[str]:
    """Of the names of jobs, models or datasets those that are old enough and have no row."""
    table = TABLES[prefix]
    old = [name for name in names if _age(name.removeprefix(prefix)) > YOUNG_SECONDS]
    found: set[str] = set()
    for start in range(0, len(old), BATCH):
        batch = old[start : start + BATCH]
        with context.db.read() as session:
            found.update(session.scalars(select(table.id).where(table.id.in_(batch))))
            if table is TrainedModel:
                # A model is published before its row is written, by a job that may still run.
                jobs = {name.replace("mdl_", "job_", 1): name for name in batch}
                alive = select(Job.id).where(Job.id.in_(jobs), Job.status.not_in(TERMINAL))
                found.update(jobs[job_id] for job_id in session.scalars(alive))
    return [name for name in old if name not in found]


def _ended_recently(context: AppContext, names: list[str]) -> list[str]:
    """Of the names of jobs those whose end an outage may have left without its cleaning up."""
    ended: list[str] = []
    for start in range(0, len(names), BATCH):
        query = select(Job.id).where(
            Job.id.in_(names[start : start + BATCH]),
            Job.status.in_(TERMINAL),
            Job.finished_at > utc_now() - RECENT,
        )
        with context.db.read() as session:
            ended += session.scalars(query)
    return ended


def _unneeded(context: AppContext, uploads: list[str]) -> list[str]:
    """Of the names of uploads those that no import will read."""
    if not uploads:
        return []
    query = select(Job).where(Job.kind.in_(UPLOAD_READERS), Job.status.not_in(("succeeded", "cancelled")))
    with context.db.read() as session:
        found = [find_upload(context.storage, job) for job in session.scalars(query) if needs_upload(job)]
        going_on = session.scalars(select(Upload.id).where(Upload.expires_at > utc_now()))
        needed = {f"{PIECES}{upload}" for upload in going_on}
    needed |= {upload.name for upload in found if upload is not None}
    return [name for name in uploads if name not in needed]


def has_lain_long(path: Path) -> bool:
    """Whether a file is there and nobody wrote or touched it in a day."""
    try:
        return time.time() - path.stat().st_mtime > SCRATCH_SECONDS
    except FileNotFoundError:
        return False


def _age(ulid: str) -> float:
    """Seconds since an id was made; a name that holds none counts as just made."""
    try:
        return time.time() - ULID.from_str(ulid.upper()).timestamp
    except ValueError:
        return 0.0
