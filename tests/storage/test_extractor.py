"""The extractor and what it gave, between two homes that share a storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.config import Settings
from app.features.files import HEADER, MODEL, NOTE, VECTORS
from app.storage.extractor import (
    download_examination,
    download_extractor,
    upload_examination,
    upload_extractor,
)
from app.storage.home import Storage, open_storage
from tests.stores import note_keys, store_of


def _home(settings: Settings, path: Path) -> Storage:
    storage = open_storage(settings.model_copy(update={"home": path}))
    storage.create()
    return storage


@pytest.fixture
def here(shared_settings: Settings, tmp_path: Path) -> Storage:
    return _home(shared_settings, tmp_path / "here")


@pytest.fixture
def there(shared_settings: Settings, tmp_path: Path) -> Storage:
    return _home(shared_settings, tmp_path / "there")


def _make(storage: Storage, content: bytes) -> None:
    storage.extractor.mkdir()
    (storage.extractor / MODEL).write_bytes(content)
    (storage.extractor / NOTE).write_bytes(b"{}")


def test_the_first_extractor_stays_the_one_that_hosts_share(
    here: Storage, there: Storage, tmp_path: Path, shared_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _make(here, b"first")
    upload_extractor(here)
    _make(there, b"second")
    sent = note_keys(monkeypatch, store_of(there), "put_file", "write")
    upload_extractor(there)
    assert not sent
    third = _home(shared_settings, tmp_path / "third")
    download_extractor(third)
    assert (third.extractor / MODEL).read_bytes() == b"first"


def test_vectors_that_came_after_a_dataset_reach_a_home_that_has_it_already(
    here: Storage, there: Storage
) -> None:
    here.dataset("d").mkdir()
    (here.dataset("d") / "manifest.json").write_bytes(b"{}")
    here.remote.upload(here.dataset("d"))
    there.remote.download(there.dataset("d"))
    for name in (VECTORS, HEADER):
        (here.dataset("d") / name).write_bytes(name.encode())
    upload_examination(here, "d")
    download_examination(there, "d")
    assert [(there.dataset("d") / name).read_bytes() for name in (VECTORS, HEADER)] == [
        VECTORS.encode(),
        HEADER.encode(),
    ]
