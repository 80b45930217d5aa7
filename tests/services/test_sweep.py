"""What nobody needs goes, here and in the shared storage; what is young, or somebody's, stays."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ulid import ULID

from app import migrations
from app.config import Settings
from app.models.base import utc_now
from app.runtime import Runtime
from app.services import sweep
from tests.services.rows import add_job, change_job

LONG_AGO = 2 * sweep.SCRATCH_SECONDS


@pytest.fixture
def runtime(tmp_path: Path, settings: Settings) -> Iterator[Runtime]:
    (tmp_path / "shared").mkdir()
    runtime = Runtime.open(settings.model_copy(update={"storage_url": f"file://{tmp_path / 'shared'}"}))
    migrations.upgrade(runtime.db)
    yield runtime
    runtime.close()


def _name(prefix: str, age: float) -> str:
    return prefix + str(ULID.from_timestamp(time.time() - age)).lower()


def _put(runtime: Runtime, path: Path) -> Path:
    """A shared file, in a home where nobody needs it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    runtime.storage.share(path)
    return path


def _is_stored(runtime: Runtime, path: Path) -> bool:
    assert runtime.storage.store is not None
    return runtime.storage.store.read(runtime.storage.relative(path)) is not None


def test_what_belongs_to_no_job_goes_once_it_is_old(runtime: Runtime) -> None:
    storage = runtime.storage
    folders = ((storage.jobs, "job_"), (storage.models, "mdl_"))
    old = [_put(runtime, folder / _name(prefix, LONG_AGO) / "x") for folder, prefix in folders]
    young = [_put(runtime, folder / _name(prefix, 60) / "x") for folder, prefix in folders]
    known = _put(runtime, storage.job(add_job(runtime)) / "split.json")
    sweep.sweep_home(runtime)
    assert [path.exists() for path in (*old, *young, known)] == [False, False, True, True, True]
    sweep.sweep_storage(runtime)
    assert [_is_stored(runtime, path) for path in (*old, *young, known)] == [False, False, True, True, True]


def test_an_ended_job_keeps_no_checkpoints_and_a_failed_one_does(runtime: Runtime) -> None:
    paths = {}
    for status in ("succeeded", "failed", "running"):
        job = add_job(runtime)
        change_job(runtime, job, status=status, finished_at=None if status == "running" else utc_now())
        paths[status] = _put(runtime, runtime.storage.job_checkpoints(job) / "0001" / "checkpoint-000001")
    sweep.sweep_storage(runtime)
    stored = {status: _is_stored(runtime, path) for status, path in paths.items()}
    assert stored == {"succeeded": False, "failed": True, "running": True}


def test_an_upload_that_no_import_waits_for_goes(runtime: Runtime) -> None:
    scratch = runtime.storage.scratch
    ages = (LONG_AGO, 5, LONG_AGO - 9, LONG_AGO - 18, LONG_AGO - 27)
    lost, young, needed, bad, good = (_put(runtime, scratch / _name("upload-", age)) for age in ages)
    ends = (
        (needed, "queued", None),
        (bad, "failed", {"code": "bad_archive", "retryable": False}),
        (good, "failed", {"code": "disk_full", "retryable": True}),
    )
    for upload, status, error in ends:
        payload = {"source": runtime.storage.relative(upload), "is_upload": True}
        job = add_job(runtime, kind="import", payload=payload)
        change_job(runtime, job, status=status, error=error)
    sweep.sweep_storage(runtime)
    stored = [_is_stored(runtime, path) for path in (lost, young, needed, bad, good)]
    assert stored == [False, True, True, False, True]


def test_what_lay_in_scratch_for_days_goes(runtime: Runtime) -> None:
    old, young = runtime.storage.scratch / "pack-1", runtime.storage.scratch / "pack-2"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (time.time() - LONG_AGO,) * 2)
    sweep.sweep_home(runtime)
    assert [old.exists(), young.exists()] == [False, True]
