"""The manifests of datasets that are ready, read once."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from app.context import AppContext
from app.datasets.manifest import DatasetManifest, Item
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


def find_item(context: AppContext, dataset_id: str, item_id: str) -> Item:
    """An image of a ready dataset; raises NotFoundError or ConflictError."""
    read_manifest(context, dataset_id)
    folder = context.storage.dataset(dataset_id)
    item = _cached_items(folder, _examined_at(folder)).get(item_id)
    if item is None:
        raise NotFoundError(f"Dataset {dataset_id} has no item {item_id!r}.")
    return item


def manifest_of(storage: Storage, dataset: Dataset) -> DatasetManifest:
    """The manifest of a dataset that is ready, with the near-duplicate groups that are known."""
    folder = storage.remote.download(storage.dataset(dataset.id))
    if dataset.examination is not None:
        storage.remote.download(folder / NEAR_GROUPS)  # this host may have had the dataset before
    return _cached_manifest(folder, _examined_at(folder))


def _examined_at(folder: Path) -> int | None:
    try:
        return (folder / NEAR_GROUPS).stat().st_mtime_ns
    except FileNotFoundError:
        return None


@lru_cache(maxsize=8)
def _cached_manifest(folder: Path, _examined_at: int | None) -> DatasetManifest:
    """It can be large, and changes once, when the dataset is examined."""
    return load_dataset(folder)


@lru_cache(maxsize=8)
def _cached_items(folder: Path, examined_at: int | None) -> dict[str, Item]:
    return {item.id: item for item in _cached_manifest(folder, examined_at).items}
