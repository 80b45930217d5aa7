"""Removes what nobody needs and no job's end removed: in this home folder, in the shared storage.

An outage of the storage at a job's end, a request that was cut off, a job that was deleted from another host:
each may leave files. Whatever is younger than an hour is left alone, since its row may not be written yet.

The images of a deleted dataset are collected here too, because no transaction spans the database and the
home folders of all hosts: an import may have found an image there a moment ago and rely on it. So a deleted
dataset leaves its folder, which lists its images. Those go that no other dataset here lists and that nobody
stored or looked for in a day: no import takes that long from its first image to its manifest.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session
from ulid import ULID

from app.context import AppContext
from app.datasets.manifest import MANIFEST, DatasetManifest, image_path, load_manifest
from app.errors import DatasetError
from app.job_queue import TASK_QUEUE
from app.models import Dataset, Evaluation, IdempotencyKey, Job, TrainedModel
from app.models.base import utc_now
from app.schemas.job_kinds import UPLOAD_READERS
from app.services.aliases import models_of_recent_moves
from app.services.job_lifecycle import clean_up, find_upload, needs_upload
from app.services.job_states import TERMINAL, append_event
from app.services.products import lock_product
from app.services.trained_models import jobs_by_model
from app.services.workers import has_first_release_worker
from app.storage.paths import HomeFolder

logger = logging.getLogger(__name__)

YOUNG_SECONDS = 3600.0
SCRATCH_SECONDS = 86_400.0
RECENT = timedelta(hours=3)
BATCH = 1000
TABLES: dict[str, type[Job | TrainedModel | Dataset]] = {
    "job_": Job,
    "mdl_": TrainedModel,
    "dst_": Dataset,
}


def clean_home(context: AppContext) -> None:
    """Deletes from a home folder that is this host's alone what ended or was deleted elsewhere."""
    storage = context.storage
    names = [folder.name for folder in storage.jobs.iterdir()]
    for name in _unknown(context, names, "job_"):
        storage.remove(storage.job(name))
    for name in _unknown(context, [folder.name for folder in storage.models.iterdir()], "mdl_"):
        storage.remove(storage.models / name)
    clean_scratch(context)


def clean_scratch(context: AppContext) -> None:
    """Deletes from this home folder what lay in scratch for long: what was cut off left it there."""
    storage = context.storage
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
    for name in _unknown(context, storage.remote.list_datasets(), "dst_"):
        logger.info("garbage: dataset %s was deleted", name)
        storage.discard_dataset(name)
    for job_id in _ended_recently(context, jobs):
        clean_up(context, job_id)
    for name in _unneeded(context, uploads):
        if _age(name.removeprefix("upload-")) > YOUNG_SECONDS:
            storage.discard(storage.scratch / name)


def forget_requests(context: AppContext) -> None:
    """Deletes the idempotency keys that are older than the setting says."""
    oldest = utc_now() - timedelta(days=context.settings.idempotency_key_days)
    with context.db.write() as session:
        session.execute(delete(IdempotencyKey).where(IdempotencyKey.created_at < oldest))


def remove_deleted_datasets(context: AppContext) -> None:
    """Deletes from this home folder the datasets that were deleted, and the images that only they had."""
    storage = context.storage
    # A list that was read before the rows: whoever is in it and has no row was deleted.
    folders = {folder.name: folder for folder in storage.datasets.glob("dst_*")}
    deleted = [name for name in _unknown(context, folders, "dst_") if _are_old(folders[name])]
    if not deleted:
        return
    with context.db.read() as session:
        if has_first_release_worker(session, [TASK_QUEUE]):
            return  # Its imports do not touch the images that they find.
    try:
        used = _list_pictures(folder for name, folder in folders.items() if name not in deleted)
    except DatasetError as error:
        logger.warning("garbage: deleted datasets stay while another cannot be read: %s", error.detail)
        return
    for name in deleted:
        manifest = _read_deleted(folders[name])
        if manifest is not None:
            if not _collect_pictures(storage, {item.sha256 for item in manifest.items} - used):
                continue  # Some are young: its folder lists them until the next time.
            _remove_records(context, manifest.digest)
        logger.info("garbage: dataset %s was deleted, and is gone now", name)
        storage.remove(folders[name])


def _are_old(folder: Path) -> bool:
    """Whether the images of a dataset have lain here long, which is as long as its manifest."""
    return not (folder / MANIFEST).exists() or _has_lain_long(folder / MANIFEST)


def _list_pictures(folders: Iterable[Path]) -> set[str]:
    """The images of these datasets, but of those that failed. Raises DatasetError."""
    return {
        item.sha256
        for folder in folders
        if (folder / MANIFEST).exists()
        for item in load_manifest(folder).items
    }


def _read_deleted(folder: Path) -> DatasetManifest | None:
    """None for a failed import, and for a manifest that tells no more what images there were."""
    try:
        return load_manifest(folder)
    except DatasetError as error:
        logger.warning("garbage: the images of %s are not known: %s", folder.name, error.detail)
        return None


def _collect_pictures(home: HomeFolder, unused: Iterable[str]) -> bool:
    """Deletes images that have lain here long; False if some stay because they have not.

    Each is moved aside first. Who touched it before that made it young, so it is put back; who touches it
    after that finds none, and stores its own.
    """
    all_gone = True
    with home.scratch_folder("pictures") as aside:
        for sha256 in unused:
            path = image_path(home.images, sha256)
            if not path.exists():
                continue
            if _has_lain_long(path):
                try:
                    path.replace(aside / sha256)
                except FileNotFoundError:
                    continue  # Another process collects too.
                if _has_lain_long(aside / sha256):
                    continue
                (aside / sha256).replace(path)
            all_gone = False
    return all_gone


def _remove_records(context: AppContext, digest: str) -> None:
    """Deletes the cached records of a dataset's content, unless another dataset has the same content."""
    with context.db.read() as session:
        if session.scalar(select(Dataset.id).where(Dataset.digest == digest).limit(1)) is not None:
            return
    storage = context.storage
    with storage.scratch_folder("records") as aside:
        for path in [*storage.records.glob(f"{digest}-*"), *storage.records.glob(f".{digest}-*")]:
            # Whole or not at all: a training that comes now writes its own.
            with contextlib.suppress(FileNotFoundError):
                path.replace(aside / path.name)


def remove_kept_models(context: AppContext) -> list[str]:
    """Removes the models that failed their gate and are too many or too old; returns their ids.

    Their jobs stay, with their evaluations. A model stays that an alias points at or lately pointed at, or
    that a job is going to read.
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
    oldest = utc_now() - timedelta(days=context.settings.kept_model_days)
    needed = models_of_recent_moves(session, product_id) | jobs_by_model(session, product_id).keys()
    return [
        model
        for rank, model in enumerate(failed)
        if (rank >= context.settings.kept_models or model.created_at < oldest) and model.id not in needed
    ]


def _remove_model(session: Session, model: TrainedModel) -> bool:
    """False while somebody else holds its job, perhaps to delete it."""
    job = session.scalar(select(Job).where(Job.id == model.job_id).with_for_update(skip_locked=True))
    if job is None:
        return False
    job.gate = {
        **(job.gate or {"passed": False}),
        "reasons": [*(job.gate or {}).get("reasons", []), f"The model {model.id} was removed since."],
    }
    append_event(session, job, "model_removed", model=model.id, version=model.version)
    session.execute(update(Evaluation).where(Evaluation.model_id == model.id).values(model_id=None))
    session.delete(model)
    return True


def _unknown(context: AppContext, names: Iterable[str], prefix: str) -> list[str]:
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
    needed = {upload.name for upload in found if upload is not None}
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
