"""The object store behind a shared storage, for looking and for damaging."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from app.storage.home import Storage
from app.storage.object_store import ObjectStore
from app.storage.shared_remote import SharedRemote


def store_of(storage: Storage) -> ObjectStore:
    assert isinstance(storage.remote, SharedRemote)
    return storage.remote.store


def note_keys(monkeypatch: pytest.MonkeyPatch, store: ObjectStore, *verbs: str) -> list[str]:
    """The keys that the store is asked for by these verbs from now on, in their order."""
    keys: list[str] = []

    def noting(verb: Callable[..., Any]) -> Callable[..., Any]:
        def note(*given: Any) -> Any:
            keys.extend(key for key in given if isinstance(key, str))
            return verb(*given)

        return note

    for verb in verbs:
        monkeypatch.setattr(store, verb, noting(getattr(store, verb)))
    return keys
