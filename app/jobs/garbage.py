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

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session
from ulid import ULID

from app.context import AppContext
from app.models import Evaluation, Job, TrainedModel
from app.models.base import utc_now
from app.schemas.job_kinds import UPLOAD_READERS
from app.services.aliases import models_of_recent_moves
from app.services.job_lifecycle import clean_up, needs_upload
from app.services.job_states import TERMINAL, append_event
from app.services.products import lock_product

logger = logging.getLogger(__name__)

YOUNG_SECONDS = 3600.0
SCRATCH_SECONDS = 86_400.0
RECENT = timedelta(hours=3)
BATCH = 1000


def clean_home(context: AppContext) -> None:
    """Deletes from a home folder that is this host's alone what ended or was deleted elsewhere."""
    storage = context.storage
    names = [folder.name for folder in storage.jobs.iterdir()]
    for name in _unknown(context, names, "job_"):
        storage.remove(storage.job(name))
    for name in _unknown(context, [folder.name for folder in storage.models.iterdir()], "mdl_"):
        storage.remove(storage.models / name)
    old = [path for path in storage.scratch.iterdir() if _has_lain_long(path)]
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
        for name in _unknown(context, names, prefix):
            logger.info("garbage: %s/%s is of no job", folder.name, name)
            storage.discard(folder / name)
    for job_id in _ended_recently(context, jobs):
        clean_up(context, job_id)
    for name in _unneeded(context, uploads):
        if _age(name.removeprefix("upload-")) > YOUNG_SECONDS:
            storage.discard(storage.scratch / name)


def remove_kept_models(context: AppContext) -> list[str]:
    """Removes the models that failed their gate and are too many or too old; returns their ids.

    Their jobs stay, with their evaluations. A model stays that an alias points at or lately pointed at, that
    a job is going to read, or whose version is the product's newest: a second model would get its number.
    """
    failed = select(TrainedModel.product_id).where(TrainedModel.passed_gate.is_(False)).distinct()
    with context.db.read() as session:
        products = [
            product_id
            for product_id in session.scalars(failed).all()
            if _too_many_or_too_old(context, session, product_id)
        ]
    removed = []
    for product_id in products:
        with context.db.write() as session:
            lock_product(session, product_id)
            found = _too_many_or_too_old(context, session, product_id, hold=True)
            models = [model for model in found if _remove_model(session, model)]
        for model in models:
            logger.info("garbage: model %s failed its gate and has been kept for long enough", model.id)
            context.storage.discard(context.storage.absolute(model.folder).parent)
            removed.append(model.id)
    return removed


def _too_many_or_too_old(
    context: AppContext, session: Session, product_id: str, *, hold: bool = False
) -> list[TrainedModel]:
    """``hold`` locks the rows, but none that a request for an evaluation holds already."""
    of_product = TrainedModel.product_id == product_id
    kept = select(TrainedModel).where(of_product, TrainedModel.passed_gate.is_(False))
    if hold:
        kept = kept.with_for_update(skip_locked=True)
    failed = session.scalars(kept.order_by(TrainedModel.version.desc())).all()
    newest = session.scalar(select(func.max(TrainedModel.version)).where(of_product))
    oldest = utc_now() - timedelta(days=context.settings.kept_model_days)
    needed = models_of_recent_moves(session, product_id) | _read_by_jobs(session, product_id)
    return [
        model
        for rank, model in enumerate(failed)
        if (rank >= context.settings.kept_models or model.created_at < oldest)
        and model.version != newest
        and model.id not in needed
    ]


def _read_by_jobs(session: Session, product_id: str) -> set[str]:
    """Models that jobs which have not ended evaluate or start from."""
    jobs = session.scalars(select(Job).where(Job.product_id == product_id, Job.status.not_in(TERMINAL)))
    named = ((job.payload.get("model"), (job.hyperparameters or {}).get("pretrained")) for job in jobs)
    return {name for names in named for name in names if name is not None}


def _remove_model(session: Session, model: TrainedModel) -> bool:
    """False while somebody else holds its job, perhaps to delete it."""
    job = session.scalar(select(Job).where(Job.id == model.job_id).with_for_update(skip_locked=True))
    if job is None:
        return False
    job.gate = {
        **(job.gate or {}),
        "reasons": [*(job.gate or {}).get("reasons", []), f"The model {model.id} was removed since."],
    }
    append_event(session, job, "model_removed", model=model.id, version=model.version)
    session.execute(update(Evaluation).where(Evaluation.model_id == model.id).values(model_id=None))
    session.delete(model)
    return True


def _unknown(context: AppContext, names: Iterable[str], prefix: str) -> list[str]:
    """Of the names of jobs or models those that are old enough and have no row."""
    table = Job if prefix == "job_" else TrainedModel
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
        needed = {Path(job.payload["source"]).name for job in session.scalars(query) if needs_upload(job)}
    return [name for name in uploads if name not in needed]


def _has_lain_long(path: Path) -> bool:
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
