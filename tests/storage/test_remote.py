"""What two homes see of each other through a shared storage: whole things, checked, or nothing."""

from __future__ import annotations

import threading
from inspect import signature
from pathlib import Path

import pytest

from app.config import Settings
from app.errors import StorageDamagedError, UnavailableError
from app.storage.home import Storage, open_storage
from app.storage.remote import Remote
from app.storage.shared_remote import INVENTORY
from tests.conftest import on_s3
from tests.s3_server import Gate, S3Server
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


def _fill(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"a" * 1000)
    (folder / "deep" / "b.json").write_text("{}")
    (folder / "empty").touch()
    return folder


def test_a_folder_and_a_file_come_whole_to_another_home(here: Storage, there: Storage) -> None:
    folder, file = _fill(here.models / "m" / "0001"), here.job("j") / "split.json"
    file.parent.mkdir()
    file.write_text('{"x": "train"}')
    here.remote.upload(folder)
    here.remote.upload(file)

    came = there.remote.download(there.models / "m" / "0001")
    assert sorted(path.relative_to(came).as_posix() for path in came.rglob("*") if path.is_file()) == [
        "a.bin",
        "deep/b.json",
        "empty",
    ]
    assert (came / "a.bin").read_bytes() == b"a" * 1000
    assert there.remote.download(there.job("j") / "split.json").read_text() == '{"x": "train"}'
    assert not list(there.scratch.iterdir())


def test_what_nobody_shared_is_no_error_and_not_there(there: Storage) -> None:
    assert not there.remote.download(there.models / "m" / "0001").exists()
    with pytest.raises(FileNotFoundError):
        there.remote.upload(there.models / "m" / "0001")


def test_without_its_inventory_nothing_is_seen(
    here: Storage, there: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that was cut off before its end must look as if it had not begun."""
    written = note_keys(monkeypatch, store_of(here), "put_file", "write")
    folder = _fill(here.models / "m" / "0001")
    here.remote.upload(folder)
    assert written[-1] == f"models/m/0001{INVENTORY}"
    assert set(written[:-1]) == {f"models/m/0001/{name}" for name in ("a.bin", "deep/b.json", "empty")}

    store_of(here).delete([f"models/m/0001{INVENTORY}"])
    assert not there.remote.download(there.models / "m" / "0001").exists()


def test_a_damaged_object_is_fetched_again_and_then_told(
    here: Storage, there: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.remote.upload(_fill(here.models / "m" / "0001"))
    store_of(here).write("models/m/0001/a.bin", b"b" * 1000)
    asked = note_keys(monkeypatch, store_of(there), "get_file")
    with pytest.raises(StorageDamagedError, match=r"models/m/0001 is damaged in the storage: a\.bin"):
        there.remote.download(there.models / "m" / "0001")
    assert asked.count("models/m/0001/a.bin") == 2
    assert not (there.models / "m" / "0001").exists()

    store_of(here).delete(["models/m/0001/a.bin"])
    with pytest.raises(StorageDamagedError, match="missing"):
        there.remote.download(there.models / "m" / "0001")


def test_many_fetch_the_same_at_once(here: Storage, there: Storage) -> None:
    here.remote.upload(_fill(here.models / "m" / "0001"))
    here.remote.upload(_fill(here.job("j")) / "a.bin")
    errors: list[Exception] = []

    def fetch() -> None:
        try:
            assert (there.remote.download(there.models / "m" / "0001") / "a.bin").read_bytes() == b"a" * 1000
            assert there.remote.download(there.job("j") / "a.bin").read_bytes() == b"a" * 1000
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert not list(there.scratch.iterdir())


def test_what_is_discarded_is_gone_for_all(here: Storage, there: Storage) -> None:
    here.remote.upload(_fill(here.models / "m" / "0001"))
    here.remote.upload(_fill(here.models / "m" / "0002"))
    here.remote.upload(_fill(here.models / "other" / "0001"))
    assert there.siblings(there.models / "m" / "0002") == [there.models / "m" / "0001"]
    there.discard(there.models / "m" / "0001")
    assert there.siblings(there.models / "m" / "0002") == []
    there.discard(there.models / "m")
    assert store_of(here).list_keys("models/m") == {}
    assert (there.remote.download(there.models / "other" / "0001") / "a.bin").exists()


def test_sharing_again_after_an_outage_sends_only_what_is_missing(
    s3: S3Server, settings: Settings, tmp_path: Path
) -> None:
    gate = Gate(s3.port)
    shared = on_s3(settings, s3, gate.url)
    here = _home(shared, tmp_path / "here")
    folder = _fill(here.models / "m" / "0001")
    gate.shut()
    with pytest.raises(UnavailableError):
        here.remote.upload(folder)
    here.discard(here.models / "elsewhere")  # an outage does not keep us from going on
    gate.open()
    here = _home(shared, tmp_path / "here")
    here.remote.upload(folder)
    store_of(here).put_file = None  # type: ignore[method-assign, assignment]
    here.remote.upload(folder)
    gate.shut()


def test_a_thing_that_is_there_is_known_and_downloaded_again_when_it_is_damaged_here(
    here: Storage, there: Storage
) -> None:
    folder = there.models / "m" / "0001"
    assert not there.remote.has(folder)
    here.remote.upload(_fill(here.models / "m" / "0001"))
    assert there.remote.has(folder)
    (there.remote.download(folder) / "a.bin").write_bytes(b"damaged")
    assert there.remote.download_again(folder)
    assert (folder / "a.bin").read_bytes() == b"a" * 1000


def test_every_verb_without_a_shared_storage_touches_no_file_and_finds_nothing(settings: Settings) -> None:
    storage = open_storage(settings)  # its home folder is not made: a verb that looked there would fail
    folder = storage.models / "m" / "0001"
    answers = {
        "failures": 0,
        "answering_seconds": 0.0,
        "checks": {},
        "address": str(folder),
        "download": folder,
        "download_again": False,
        "has": False,
        "may_get": False,
        "list_whole": [],
        "list_names": [],
        "list_datasets": [],
    }
    for name in sorted(Remote.__abstractmethods__):
        verb = getattr(storage.remote, name)
        answer = verb(*(folder for _ in signature(verb).parameters)) if callable(verb) else verb
        assert answer == answers.get(name), name
    storage.discard(folder)
    assert not settings.home.exists()
