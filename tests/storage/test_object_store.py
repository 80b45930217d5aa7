"""The shared storage: what it keeps, and what it says when it cannot be used."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.config import Settings
from app.errors import StorageRefusedError, UnavailableError
from app.storage.home import check_at_start
from app.storage.object_store import ObjectStore
from tests.conftest import on_s3
from tests.ports import free_port
from tests.s3_server import Gate, S3Server
from tests.waiting import wait_for


def test_objects_are_kept_listed_and_deleted(shared_settings: Settings, tmp_path: Path) -> None:
    store = ObjectStore(shared_settings)
    (tmp_path / "big").write_bytes(bytes(range(256)) * 100)
    store.put_file(tmp_path / "big", "a/b/big")
    store.write("a/b2", b"beside")

    assert store.read("a/b2") == b"beside"
    assert store.read("a/b/big", 255, 258) == b"\xff\x00\x01"
    assert store.list_keys("a/b") == {"a/b/big": 25600}
    assert store.list_names("a") == ["b", "b2"]
    assert store.get_file("a/b/big", tmp_path / "new" / "back")
    assert (tmp_path / "new" / "back").read_bytes() == (tmp_path / "big").read_bytes()

    store.delete(["a/b/big", "a/none"])
    assert store.read("a/b/big") is None
    assert not store.get_file("a/b/big", tmp_path / "gone")
    assert store.list_keys("a/b") == {}
    assert store.list_names("nothing") == []
    assert store.failures == 0


def test_a_large_object_goes_up_in_parts(s3: S3Server, settings: Settings, tmp_path: Path) -> None:
    store = ObjectStore(on_s3(settings, s3))
    (tmp_path / "large").write_bytes(b"0123456789abcdef" * (2 * 2**20 + 1))
    store.put_file(tmp_path / "large", "large")
    assert store.get_file("large", tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == (tmp_path / "large").read_bytes()


def test_a_prefix_keeps_to_itself(s3: S3Server, settings: Settings) -> None:
    settings = on_s3(settings, s3)
    inner = settings.model_copy(update={"storage_url": f"{settings.storage_url}/team/loupe"})
    store = ObjectStore(inner)
    store.check()
    store.write("jobs/x", b"1")
    assert store.list_keys("jobs") == {"jobs/x": 1}
    assert sorted(ObjectStore(settings).list_keys("")) == ["team/loupe/jobs/x", "team/loupe/loupe.json"]


def test_a_missing_bucket_is_told_at_the_start(s3: S3Server, settings: Settings) -> None:
    missing = on_s3(settings, s3).model_copy(update={"storage_url": "s3://nobody-made-this"})
    with pytest.raises(StorageRefusedError, match="no such bucket") as caught:
        check_at_start(missing)
    assert "LOUPE_STORAGE_URL" in (caught.value.hint or "")


def test_a_name_that_no_bucket_can_have_is_told_at_the_start(s3: S3Server, settings: Settings) -> None:
    with pytest.raises(StorageRefusedError) as caught:
        check_at_start(on_s3(settings, s3).model_copy(update={"storage_url": "s3://no bucket!"}))
    assert "bucket's name" in (caught.value.hint or "")


def test_missing_credentials_are_told_at_the_start(
    s3: S3Server, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    without = on_s3(settings, s3).model_copy(update={"storage_access_key": None, "storage_secret_key": None})
    with pytest.raises(StorageRefusedError) as caught:
        check_at_start(without)
    assert "LOUPE_STORAGE_ACCESS_KEY" in (caught.value.hint or "")


def test_a_folder_that_is_not_mounted_is_told_at_the_start(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(StorageRefusedError, match="no folder"):
        check_at_start(settings.model_copy(update={"storage_url": f"file://{tmp_path / 'unmounted'}"}))
    assert not (tmp_path / "unmounted").exists()


def test_a_server_that_is_away_is_an_outage_and_no_reason_not_to_start(
    s3: S3Server, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    away = on_s3(settings, s3, f"http://127.0.0.1:{free_port()}")
    began = time.monotonic()
    check_at_start(away)
    assert "does not answer" in caplog.text
    store = ObjectStore(away)
    for _ in range(3):
        with pytest.raises(UnavailableError) as caught:
            store.read("x")
        assert not isinstance(caught.value, StorageRefusedError)
    assert store.failures == 1, "those that come right after do not wait for it again"
    assert time.monotonic() - began < 30


def test_it_is_used_again_when_it_is_back(s3: S3Server, settings: Settings) -> None:
    gate = Gate(s3.port)
    store = ObjectStore(on_s3(settings, s3, gate.url))
    store.write("x", b"1")
    gate.shut()
    with pytest.raises(UnavailableError):
        store.read("x")
    gate.open()

    def read() -> bytes | None:
        with contextlib.suppress(UnavailableError):
            return store.read("x")
        return None

    assert wait_for(read, 30, "the storage", every=0.1) == b"1"
    gate.shut()


@pytest.mark.parametrize("url", ["gs://bucket", "s3://", "file:shared", "s3://key:secret@bucket", "bucket"])
def test_another_kind_of_storage_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be s3://BUCKET"):
        Settings(storage_url=url, _env_file=None)


def test_a_key_without_its_secret_is_refused_and_the_secret_is_not_shown() -> None:
    with pytest.raises(ValueError, match="LOUPE_STORAGE_SECRET_KEY"):
        Settings(storage_access_key="a", _env_file=None)
    assert "s3cret" not in repr(Settings(storage_access_key="a", storage_secret_key="s3cret", _env_file=None))


def test_without_a_storage_nothing_of_it_is_loaded(tmp_path: Path) -> None:
    program = (
        "import sys; from app.config import Settings; from app.context import AppContext;"
        "import app.main, app.workers.supervisor;"
        "AppContext.open(Settings(home=sys.argv[1], _env_file=None));"
        "sys.exit(str([name for name in ('fsspec', 's3fs', 'botocore', 'aiohttp') if name in sys.modules]"
        " or ''))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ended.stderr.strip() == ""
