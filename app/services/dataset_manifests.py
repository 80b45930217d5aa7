"""The manifests of datasets that are ready, read once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from threading import Lock

from app.context import AppContext
from app.datasets.manifest import DatasetManifest
from app.datasets.near_groups import load_dataset
from app.errors import NotFoundError
from app.features.files import NEAR_GROUPS
from app.models import Dataset
from app.services.dataset_states import require_dataset, require_ready
from app.storage.home import Storage


def read_manifest(context: AppContext, dataset_id: str) -> DatasetManifest:
    """The manifest of a ready dataset; raises NotFoundError or ConflictError."""
    with context.db.read() as session:
        dataset = require_ready(require_dataset(session, dataset_id))
    return manifest_of(context.storage, dataset)


def position_of(context: AppContext, dataset_id: str, item_id: str) -> int:
    """Where the manifest of a ready dataset has an image; raises NotFoundError or ConflictError."""
    position = read_positions(context, dataset_id).get(item_id)
    if position is None:
        raise NotFoundError(
            f"Dataset {dataset_id} has no item {item_id!r}.",
            hint=f"`GET /datasets/{dataset_id}/items` lists them.",
        )
    return position


def read_positions(context: AppContext, dataset_id: str) -> Mapping[str, int]:
    """Where the manifest of a ready dataset has each image, by id."""
    read_manifest(context, dataset_id)
    folder = context.storage.dataset(dataset_id)
    return _cached_positions(folder, examined_at(folder))


def manifest_of(storage: Storage, dataset: Dataset) -> DatasetManifest:
    """The manifest of a dataset that is ready, with the near-duplicate groups that are known."""
    folder = storage.remote.download(storage.dataset(dataset.id))
    if dataset.examination is not None:
        storage.remote.download(folder / NEAR_GROUPS)  # this host may have had the dataset before
    return manifest_in(folder, examined_at(folder))


def examined_at(folder: Path) -> int | None:
    """When the near-duplicate groups of a dataset changed, in nanoseconds; None: there are none."""
    try:
        return (folder / NEAR_GROUPS).stat().st_mtime_ns
    except FileNotFoundError:
        return None


_LOADING: defaultdict[Path, Lock] = defaultdict(Lock)
"""By the folder of a dataset: who opens its page asks for much at once, and one of them reads for all."""


def manifest_in(folder: Path, examined_at: int | None) -> DatasetManifest:
    """The same, of a dataset whose files are on this host."""
    with _LOADING[folder]:
        return _cached_manifest(folder, examined_at)


@lru_cache(maxsize=8)
def _cached_manifest(folder: Path, _examined_at: int | None) -> DatasetManifest:
    """It can be large, and changes once, when the dataset is examined."""
    return load_dataset(folder)


@lru_cache(maxsize=8)
def _cached_positions(folder: Path, examined_at: int | None) -> dict[str, int]:
    items = manifest_in(folder, examined_at).items
    return {item.id: position for position, item in enumerate(items)}
