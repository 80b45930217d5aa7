"""The object store behind a shared storage, for looking and for damaging."""

from __future__ import annotations

from app.storage.home import Storage
from app.storage.object_store import ObjectStore
from app.storage.shared_remote import SharedRemote


def store_of(storage: Storage) -> ObjectStore:
    assert isinstance(storage.remote, SharedRemote)
    return storage.remote.store
