"""What nobody needs goes, here and in the shared storage; what is young, or somebody's, stays."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select
from ulid import ULID

from app import migrations
from app.config import Settings
from app.context import AppContext
from app.jobs import garbage
from app.models import AuditRecord, IdempotencyKey
from app.models.base import utc_now
from app.services.audit_trail import Attempt
from app.services.idempotency import Answer, IdempotentRequest, remember
from tests.services.rows import add_job, change_job
from tests.stores import store_of

LONG_AGO = 2 * garbage.SCRATCH_SECONDS


@pytest.fixture
def context(shared_context: AppContext) -> AppContext:
    return shared_context


def _name(prefix: str, age: float) -> str:
    return prefix + str(ULID.from_timestamp(time.time() - age)).lower()


def _put(context: AppContext, path: Path) -> Path:
    """A shared file, in a home where nobody needs it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    context.storage.remote.upload(path)
    return path


def _is_stored(context: AppContext, path: Path) -> bool:
    return store_of(context.storage).read(context.storage.relative(path)) is not None


def test_what_belongs_to_no_job_goes_once_it_is_old(context: AppContext) -> None:
    storage = context.storage
    folders = ((storage.jobs, "job_"), (storage.models, "mdl_"))
    old = [_put(context, folder / _name(prefix, LONG_AGO) / "x") for folder, prefix in folders]
    young = [_put(context, folder / _name(prefix, 60) / "x") for folder, prefix in folders]
    known = _put(context, storage.job(add_job(context)) / "split.json")
    garbage.clean_home(context)
    assert [path.exists() for path in (*old, *young, known)] == [False, False, True, True, True]
    garbage.clean_storage(context)
    assert [_is_stored(context, path) for path in (*old, *young, known)] == [False, False, True, True, True]


def test_an_ended_job_keeps_no_checkpoints_and_a_failed_one_does(context: AppContext) -> None:
    paths = {}
    for status in ("succeeded", "failed", "running"):
        job = add_job(context)
        change_job(context, job, status=status, finished_at=None if status == "running" else utc_now())
        paths[status] = _put(context, context.storage.job_checkpoints(job) / "0001" / "checkpoint-000001")
    garbage.clean_storage(context)
    stored = {status: _is_stored(context, path) for status, path in paths.items()}
    assert stored == {"succeeded": False, "failed": True, "running": True}


def test_an_upload_that_no_import_waits_for_goes(context: AppContext) -> None:
    scratch = context.storage.scratch
    ages = (LONG_AGO, 5, LONG_AGO - 9, LONG_AGO - 18, LONG_AGO - 27)
    lost, young, needed, bad, good = (_put(context, scratch / _name("upload-", age)) for age in ages)
    ends = (
        (needed, "queued", None),
        (bad, "failed", {"code": "bad_archive", "retryable": False}),
        (good, "failed", {"code": "disk_full", "retryable": True}),
    )
    for upload, status, error in ends:
        payload = {"source": context.storage.relative(upload), "is_upload": True}
        job = add_job(context, kind="import", payload=payload)
        change_job(context, job, status=status, error=error)
    garbage.clean_storage(context)
    stored = [_is_stored(context, path) for path in (lost, young, needed, bad, good)]
    assert stored == [False, True, True, False, True]


def test_an_upload_that_has_waited_for_the_storage_for_days_stays_here(context: AppContext) -> None:
    waiting, stored = (context.storage.upload() for _ in range(2))
    for upload in (waiting, stored):
        upload.write_text("x")
        os.utime(upload, (time.time() - LONG_AGO,) * 2)
        add_job(
            context, kind="import", payload={"source": context.storage.relative(upload), "is_upload": True}
        )
    context.storage.remote.upload(stored)
    garbage.clean_home(context)
    assert [waiting.exists(), stored.exists()] == [True, False]


@pytest.mark.parametrize("clean", [garbage.clean_home, garbage.clean_scratch])
def test_what_lay_in_scratch_for_days_goes(context: AppContext, clean: Callable[[AppContext], None]) -> None:
    old, young = context.storage.scratch / "pack-1", context.storage.scratch / "pack-2"
    for folder in (old, young):
        folder.mkdir()
    os.utime(old, (time.time() - LONG_AGO,) * 2)
    clean(context)
    assert [old.exists(), young.exists()] == [False, True]


@pytest.mark.parametrize("is_old_row", [False, True])
def test_an_upload_that_was_cut_off_goes_on_one_host_too(settings: Settings, is_old_row: bool) -> None:
    with closing(AppContext.open(settings)) as alone:
        migrations.upgrade(alone.db)
        cut_off, waiting = alone.storage.upload(), alone.storage.upload()
        for path in (cut_off, waiting):
            path.write_text("x")
            os.utime(path, (time.time() - LONG_AGO,) * 2)
        source = str(waiting) if is_old_row else alone.storage.relative(waiting)
        add_job(alone, kind="import", payload={"source": source, "is_upload": True})
        garbage.clean_scratch(alone)
        assert [cut_off.exists(), waiting.exists()] == [False, True]


def test_an_idempotency_key_is_forgotten_after_its_days(context: AppContext) -> None:
    for key in ("old", "young"):
        request = IdempotentRequest("POST /products", key, "0" * 64)
        with context.db.write() as session:
            remember(session, request, 201, Answer({"key": key}, None))
    with context.db.write() as session:
        session.get_one(IdempotencyKey, ("POST /products", "old")).created_at = utc_now() - timedelta(days=8)
    garbage.forget_requests(context)
    with context.db.read() as session:
        assert session.scalars(select(IdempotencyKey.key)).all() == ["young"]


def test_an_audit_record_is_forgotten_after_its_days(
    context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "BATCH", 2)
    with context.db.write() as session:
        for days in (1, 364, 366, 367, 1000, 2000):
            record = Attempt("POST /jobs", None, None, str).describe("done", 201)
            session.add(AuditRecord(**{**record, "created_at": utc_now() - timedelta(days), "times": days}))
    garbage.forget_audit_records(context)
    with context.db.read() as session:
        assert sorted(session.scalars(select(AuditRecord.times))) == [1, 364]
