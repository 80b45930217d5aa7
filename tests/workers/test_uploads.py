"""Uploads on their way to a worker elsewhere: it waits for them, and a host that is gone is named."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient

from app import migrations
from app.config import Settings
from app.context import AppContext
from app.host.processes import process_owner
from app.jobs import claims
from app.jobs import uploads as arriving
from app.services.uploads import send_uploads
from app.workers.supervisor import Supervisor
from tests.clients import local_client
from tests.conftest import on_s3
from tests.pictures import make_files, make_zip
from tests.ports import free_port
from tests.running import run_queued
from tests.s3_server import KEYS, Gate, S3Server
from tests.services.rows import read_job
from tests.waiting import wait_for

pytestmark = pytest.mark.integration


@pytest.fixture
def shared(settings: Settings, tmp_path: Path) -> Settings:
    """Of hosts that share a folder, and a database on this machine."""
    (tmp_path / "shared").mkdir()
    storage_url, database_url = f"file://{tmp_path / 'shared'}", f"sqlite:///{tmp_path / 'loupe.db'}"
    more = {
        "storage_url": storage_url,
        "database_url": database_url,
        "heartbeat_seconds": 1.0,
        "lease_seconds": 3.0,
    }
    return Settings(**{**settings.model_dump(exclude_unset=True), **more}, _env_file=None)


@pytest.fixture
def client(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """An API whose host does not come to upload anything."""
    monkeypatch.setattr("app.api.upload_thread.send_uploads", lambda _: None)
    context = AppContext.open(shared)
    migrations.upgrade(context.db)
    context.close()
    with local_client(shared, raise_server_exceptions=False) as client:
        client.post("/products", json={"id": "p"}).raise_for_status()
        yield client


@pytest.fixture
def here(shared: Settings) -> Iterator[AppContext]:
    """The API's home folder."""
    context = AppContext.open(shared)
    yield context
    context.close()


@pytest.fixture
def there(shared: Settings, tmp_path: Path) -> Iterator[AppContext]:
    """Another host."""
    context = AppContext.open(shared.model_copy(update={"home": tmp_path / "there"}))
    yield context
    context.close()


def send(client: Any) -> str:
    """Uploads images; returns the job of their import."""
    answer = client.post("/products/p/datasets", files={"file": ("p.zip", make_zip(make_files(2)))})
    assert answer.status_code == 202, answer.text
    job: str = answer.json()["job"]
    return job


class Waiting:
    """A worker elsewhere that has claimed the job."""

    def __init__(self, context: AppContext, job: str) -> None:
        claim = claims.claim(context, job, process_owner())
        assert claim is not None
        self._thread = threading.Thread(target=Supervisor(context, claim, threading.Event()).run)
        self._thread.start()

    def end(self) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


def test_a_worker_elsewhere_waits_with_its_lease_beating_and_then_imports(
    client: TestClient, here: AppContext, there: AppContext
) -> None:
    job = send(client)
    worker = Waiting(there, job)
    first = read_job(here, job).lease_until
    assert first is not None
    wait_for(lambda: (read_job(here, job).lease_until or 0.0) > first + 1.5, 60, "the second beat")
    assert read_job(here, job).status == "running"
    send_uploads(here)
    worker.end()
    assert client.get(f"/jobs/{job}").json()["status"] == "succeeded"
    send_uploads(here)
    for context in (here, there):
        assert not list(context.storage.scratch.iterdir())
        assert context.storage.remote.list_names(context.storage.scratch) == []


def test_a_worker_of_the_same_home_folder_needs_no_storage_for_it(
    client: TestClient, here: AppContext, tmp_path: Path
) -> None:
    job = send(client)
    (tmp_path / "shared").rename(tmp_path / "away")
    worker = Waiting(here, job)
    wait_for(lambda: list(here.storage.datasets.glob("*/manifest.json")), 60, "the import")
    (tmp_path / "away").rename(tmp_path / "shared")
    worker.end()
    assert client.get(f"/jobs/{job}").json()["status"] == "succeeded"
    assert not list(here.storage.scratch.iterdir())


def test_a_job_that_waits_for_an_upload_can_be_cancelled(
    client: TestClient, here: AppContext, there: AppContext
) -> None:
    job = send(client)
    worker = Waiting(there, job)
    client.post(f"/jobs/{job}/cancel").raise_for_status()
    worker.end()
    assert client.get(f"/jobs/{job}").json()["status"] == "cancelled"
    send_uploads(here)
    assert not list(here.storage.scratch.iterdir())


def test_an_upload_that_never_comes_ends_the_job_with_the_name_of_its_host(
    client: TestClient, here: AppContext, there: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = send(client)
    with monkeypatch.context() as hasty:
        hasty.setattr(arriving, "WAIT_SECONDS", 0.5)
        Waiting(there, job).end()
    ended = client.get(f"/jobs/{job}").json()
    assert (ended["status"], ended["attempt"]) == ("failed", 1)
    assert (ended["error"]["code"], ended["error"]["retryable"]) == ("upload_missing", True)
    assert socket.gethostname() in ended["error"]["detail"]

    send_uploads(here)
    client.post(f"/jobs/{job}/retry").raise_for_status()
    run_queued(there)
    assert client.get(f"/jobs/{job}").json()["status"] == "succeeded"


def test_an_outage_of_the_storage_is_no_time_in_which_the_upload_could_come(
    client: TestClient, here: AppContext, there: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arriving, "WAIT_SECONDS", 3.0)
    job = send(client)
    (tmp_path / "shared").rename(tmp_path / "away")
    worker = Waiting(there, job)
    threading.Event().wait(4)
    (tmp_path / "away").rename(tmp_path / "shared")
    threading.Event().wait(1)
    send_uploads(here)
    worker.end()
    assert client.get(f"/jobs/{job}").json()["status"] == "succeeded"


def test_the_answer_does_not_wait_for_a_storage_that_is_silent(s3: S3Server, settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        shared = on_s3(settings, s3, url)
        context = AppContext.open(shared)
        migrations.upgrade(context.db)
        context.close()
        with local_client(shared, raise_server_exceptions=False) as client:
            client.post("/products", json={"id": "p"}).raise_for_status()
            for _ in range(2):  # the first wakes the thread, which then waits for the storage
                began = time.monotonic()
                send(client)
                assert time.monotonic() - began < 2


def test_an_api_killed_between_the_answer_and_the_upload_goes_on_with_it(
    s3: S3Server, settings: Settings, tmp_path: Path
) -> None:
    gate = Gate(s3.port)
    shared = on_s3(settings, s3, gate.url)
    context = AppContext.open(shared)
    migrations.upgrade(context.db)
    context.close()
    gate.shut()
    with serving(shared, tmp_path) as (process, url), httpx.Client(base_url=url, timeout=30) as client:
        client.post("/products", json={"id": "p"}).raise_for_status()
        job = send(client)
        process.send_signal(signal.SIGKILL)
        process.wait()
    gate.open()

    database = shared.resolved_database_url
    there = AppContext.open(shared.model_copy(update={"home": tmp_path / "there", "database_url": database}))
    with serving(shared, tmp_path) as (_, url), httpx.Client(base_url=url, timeout=30) as client:
        run_queued(there)
        assert client.get(f"/jobs/{job}").json()["status"] == "succeeded"
        wait_for(lambda: not list((shared.home / "scratch").iterdir()), 60, "the end of the upload here")
    there.close()
    gate.shut()


@contextmanager
def serving(settings: Settings, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """An API in a process of its own."""
    port = free_port()
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("LOUPE_")},
        "LOUPE_HOME": str(settings.home),
        "LOUPE_PORT": str(port),
        "LOUPE_STORAGE_URL": str(settings.storage_url),
        "LOUPE_STORAGE_ENDPOINT_URL": str(settings.storage_endpoint_url),
        "LOUPE_STORAGE_REGION": str(settings.storage_region),
        **{f"LOUPE_{key.upper()}": value for key, value in KEYS.items()},
    }
    with (tmp_path / "api.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.launch.api"], env=environment, stdout=log, stderr=log
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(lambda: _answers(f"{url}/healthz"), 60, f"the API of {tmp_path}/api.log")
        yield process, url
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).status_code == 200
    except httpx.HTTPError:
        return False
