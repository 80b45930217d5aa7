"""Collects the images of deleted datasets from this home folder.

No transaction spans the database and the home folders of all hosts: an import may have found an image there a
moment ago and rely on it. So a deleted dataset leaves its folder, which lists its images. Those go that no
other dataset here lists and that nobody stored or looked for in a day: no import takes that long from its
first image to its manifest.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable
from pathlib import Path

from sqlalchemy import select

from app.context import AppContext
from app.datasets.manifest import MANIFEST, DatasetManifest, image_path, load_manifest
from app.errors import DatasetError
from app.job_queue import TASK_QUEUE
from app.jobs.garbage import find_unknown, has_lain_long
from app.models import Dataset
from app.services.workers import has_first_release_worker
from app.storage.paths import HomeFolder

logger = logging.getLogger(__name__)


def remove_deleted_datasets(context: AppContext) -> None:
    """Deletes from this home folder the datasets that were deleted, and the images that only they had."""
    storage = context.storage
    # A list that was read before the rows: whoever is in it and has no row was deleted.
    folders = {folder.name: folder for folder in storage.datasets.glob("dst_*")}
    deleted = [name for name in find_unknown(context, folders, "dst_") if _are_old(folders[name])]
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
    return not (folder / MANIFEST).exists() or has_lain_long(folder / MANIFEST)


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
            if has_lain_long(path):
                try:
                    path.replace(aside / sha256)
                except FileNotFoundError:
                    continue  # Another process collects too.
                if has_lain_long(aside / sha256):
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
