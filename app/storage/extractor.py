"""The extractor of features and what it gave, in the storage that hosts share: made by one, found by all."""

from __future__ import annotations

from app.features.files import EXAMINATION_FILES, MODEL, NETWORK, NOTE
from app.storage.home import Storage
from app.storage.weights import download_weights


def download_extractor(storage: Storage) -> None:
    """Brings the extractor here, or the weights that one is made from, where they are not here."""
    if not (storage.extractor / NOTE).exists():
        storage.remote.download(storage.extractor)
    if not (storage.extractor / NOTE).exists():
        download_weights(storage, NETWORK)


def upload_extractor(storage: Storage) -> None:
    """Lets the other hosts find the extractor, unless one is there already."""
    if (storage.extractor / MODEL).exists() and not storage.remote.has(storage.extractor):
        storage.remote.upload(storage.extractor)


def upload_examination(storage: Storage, dataset_id: str) -> None:
    """Lets the other hosts find what an examination left of a dataset that they may have already."""
    for name in EXAMINATION_FILES:
        if (storage.dataset(dataset_id) / name).exists():
            storage.remote.upload(storage.dataset(dataset_id) / name)


def download_examination(storage: Storage, dataset_id: str) -> None:
    """Brings what an examination left here, if there is any, and this host has the dataset alone."""
    folder = storage.remote.download(storage.dataset(dataset_id))
    for name in EXAMINATION_FILES:
        storage.remote.download(folder / name)
