"""An upload reaches the other hosts after the answer, and is nowhere once nobody needs it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app import migrations
from app.config import Settings
from app.context import AppContext
from app.errors import StorageUnavailableError
from app.models import Worker
from app.services import uploads, workers
from tests.clients import local_client
from tests.pictures import make_files, make_zip
from tests.services.rows import add_job, change_job
from tests.services.test_workers import new_worker


@pytest.fixture
def context(shared_settings: Settings) -> Iterator[AppContext]:
    context = AppContext.open(shared_settings)
    migrations.upgrade(context.db)
    yield context
    context.close()


def receive(context: AppContext) -> Path:
    """A whole upload in this home folder, without a job yet."""
    path = context.storage.upload()
    path.write_bytes(b"pictures")
    return path


def add_import(context: AppContext, path: Path) -> str:
    payload = {"source": context.storage.relative(path), "is_upload": True, "host": "here"}
    return add_job(context, kind="import", payload=payload)


def found(context: AppContext, path: Path) -> tuple[bool, bool]:
    """Whether the upload is in the home folder, and in the storage."""
    return path.exists(), context.storage.remote.has(path)


def test_what_an_import_needs_goes_up_and_leaves_the_home_folder(context: AppContext) -> None:
    waiting, running, failed = (receive(context) for _ in range(3))
    add_import(context, waiting)
    job = add_import(context, running)
    change_job(context, job, status="running")
    change_job(context, add_import(context, failed), status="failed", error={"retryable": True})
    uploads.send_uploads(context)
    assert [found(context, path) for path in (waiting, failed)] == [(False, True)] * 2
    assert found(context, running) == (True, True), "its worker may be reading it in this home folder"
    change_job(context, job, status="queued")
    uploads.send_uploads(context)
    assert found(context, running) == (False, True)


def test_what_no_import_needs_any_more_is_not_uploaded_and_goes(context: AppContext) -> None:
    cancelled, bad = receive(context), receive(context)
    change_job(context, add_import(context, cancelled), status="cancelled")
    change_job(context, add_import(context, bad), status="failed", error={"retryable": False})
    deleted, young = receive(context), receive(context)
    os.utime(deleted, (time.time() - 2 * uploads.UNKNOWN_SECONDS,) * 2)
    uploads.send_uploads(context)
    assert [found(context, path) for path in (cancelled, bad, deleted)] == [(False, False)] * 3
    assert found(context, young) == (True, False), "its row may be about to be written"


def test_one_whose_job_is_cancelled_while_it_goes_up_is_nowhere(
    context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = receive(context)
    job = add_import(context, path)
    upload = context.storage.remote.upload

    def upload_and_cancel(path: Path) -> None:
        upload(path)
        change_job(context, job, status="cancelled")

    monkeypatch.setattr(context.storage.remote, "upload", upload_and_cancel)
    uploads.send_uploads(context)
    assert found(context, path) == (False, False)


def test_an_upload_that_is_there_already_is_not_read_again(
    context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = receive(context)
    add_import(context, path)
    context.storage.remote.upload(path)
    monkeypatch.setattr(context.storage.remote, "upload", lambda _: pytest.fail("it is there"))
    uploads.send_uploads(context)
    assert found(context, path) == (False, True)


def test_while_a_worker_of_the_first_release_lives_the_answer_waits_for_the_storage(
    context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.api.upload_thread.send_uploads", lambda _: None)
    with local_client(context.settings, raise_server_exceptions=False) as client:
        client.post("/products", json={"id": "p"}).raise_for_status()

        def send() -> bool:
            file = {"file": ("p.zip", make_zip(make_files(1)))}
            client.post("/products/p/datasets", files=file).raise_for_status()
            newest = max(context.storage.scratch.glob("upload-*"))
            return context.storage.remote.has(newest)

        assert not send()
        old = new_worker(queue="tasks")
        workers.beat(context, old)
        assert not send()
        forget_kinds(context, old.id)
        assert send()


def forget_kinds(context: AppContext, worker_id: str) -> None:
    with context.db.write() as session:
        session.get_one(Worker, worker_id).kinds = None


def test_without_a_shared_storage_no_thread_sends_uploads(settings: Settings) -> None:
    with local_client(settings):
        assert "uploads" not in {thread.name for thread in threading.enumerate()}


def test_the_storage_may_be_away(context: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    path = receive(context)
    add_import(context, path)

    def fail(_: Path) -> None:
        raise StorageUnavailableError("The storage does not answer.")

    with monkeypatch.context() as away:
        away.setattr(context.storage.remote, "upload", fail)
        with pytest.raises(StorageUnavailableError):
            uploads.send_uploads(context)
    assert path.exists()
    uploads.send_uploads(context)
    assert found(context, path) == (False, True)
