"""Fixtures that everything shares: a home folder, databases, the API, a whole service."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app import migrations
from app.artifacts import Artifact, open_artifact
from app.config import Settings
from app.context import AppContext
from app.models import TrainedModel
from tests import postgres_server, s3_server
from tests.clients import local_client
from tests.ports import free_port
from tests.running import TINY, import_pictures, run_queued
from tests.waiting import wait_for

pytest_plugins = ["tests.packaged_models"]

TESTS = Path(__file__).parent
LONGEST = ("chaos", "launch", "workers", "training", "upgrades", "networks")
"""The folders whose files take longest, the longest first."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A long file that begins last would leave one process at work and the others idle."""
    ranks = {folder: rank for rank, folder in enumerate(LONGEST)}
    items.sort(key=lambda item: ranks.get(item.path.relative_to(TESTS).parts[0], len(ranks)))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-postgres", action="store_true", help="Fail instead of skip where PostgreSQL is missing."
    )
    parser.addoption(
        "--require-mlflow", action="store_true", help="Fail instead of skip where MLflow is missing."
    )
    parser.addoption(
        "--require-browser", action="store_true", help="Fail instead of skip where Chromium is missing."
    )
    parser.addoption(
        "--shots", type=Path, help="A folder for pictures of the pages that the browser's tests open."
    )
    parser.addoption(
        "--logits-of-this-commit",
        action="store_true",
        help="Do not call slow the twentieth of the slow logits tests whose turn it is at this commit.",
    )
    parser.addoption(
        "--chaos-of-this-commit",
        action="store_true",
        help="Run only the third of the chaos tests whose turn it is at this commit.",
    )
    parser.addoption(
        "--chaos-n", type=int, default=0, help="How often chaos tests try; 0: the few times of `make test`."
    )
    parser.addoption(
        "--attack",
        action="store_true",
        help="Attack at full size; else with the few requests of `make test`.",
    )


def pytest_configure() -> None:
    # Nothing is examined that a test does not ask for: making an extractor takes ten seconds a home.
    os.environ["LOUPE_EXAMINE_IMPORTS"] = "false"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("LOUPE_")]:
        if name != "LOUPE_EXAMINE_IMPORTS":
            monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", _env_file=None)


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty PostgreSQL server of our own."""
    programs = postgres_server.find_programs()
    if programs is None:
        message = (
            "PostgreSQL is not installed: the database tests ran on SQLite alone (see make check-postgres)"
        )
        if request.config.getoption("--require-postgres"):
            pytest.fail(message)
        pytest.skip(message)
    with postgres_server.server_folder() as folder, postgres_server.run(programs, folder) as url:
        yield url


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3_server.S3Server]:
    """A real S3 API server on loopback."""
    with s3_server.run(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(params=["file", "s3"])
def shared_settings(request: pytest.FixtureRequest, settings: Settings, tmp_path: Path) -> Settings:
    """Settings with each kind of shared storage in turn, empty."""
    if request.param == "file":
        (tmp_path / "shared").mkdir()
        return settings.model_copy(update={"storage_url": f"file://{tmp_path / 'shared'}"})
    return on_s3(settings, request.getfixturevalue("s3"))


def on_s3(settings: Settings, server: s3_server.S3Server, url: str | None = None) -> Settings:
    """``settings`` with a new bucket of ``server``, reached by ``url`` if not directly."""
    storage = {"storage_url": f"s3://{server.create_bucket()}", "storage_endpoint_url": url or server.url}
    given = settings.model_dump(exclude_unset=True)
    return Settings(**{**given, **storage, **s3_server.KEYS, "storage_region": "us-east-1"}, _env_file=None)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def any_database(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """Settings with each kind of database in turn; the PostgreSQL one is fresh for each test."""
    if request.param == "sqlite":
        return settings
    url = postgres_server.create_database(request.getfixturevalue("postgres"))
    return settings.model_copy(update={"database_url": url})


@pytest.fixture
def context(settings: Settings) -> Iterator[AppContext]:
    """An opened Loupe on SQLite. Its Redis is away: what is queued stays queued."""
    yield from _open(settings)


@pytest.fixture
def any_context(any_database: Settings) -> Iterator[AppContext]:
    """Like ``context``, on SQLite and on PostgreSQL."""
    yield from _open(any_database)


@pytest.fixture
def client(context: AppContext) -> Iterator[TestClient]:
    """The API in this process, without workers."""
    with local_client(context.settings, raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def shared_context(tmp_path: Path, settings: Settings) -> Iterator[AppContext]:
    """On one of the hosts that share a storage, a folder here."""
    (tmp_path / "shared").mkdir()
    yield from _open(settings.model_copy(update={"storage_url": f"file://{tmp_path / 'shared'}"}))


def _open(settings: Settings) -> Iterator[AppContext]:
    context = AppContext.open(settings)
    migrations.upgrade(context.db)
    yield context
    context.close()


@dataclass
class Service:
    """A whole Loupe in processes of its own."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]
    worker_metrics_port: int = 0
    """Of the worker for trainings; the other's is the next one."""

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """``loupe up`` for the whole session: Redis, two workers, the API."""
    home = tmp_path_factory.mktemp("service")
    port = free_port(2)
    started = start_service(home, LOUPE_WORKER_METRICS_PORT=str(port), LOUPE_LOG_FORMAT="json")
    started.worker_metrics_port = port
    yield started
    stop_service(started)
    shutil.rmtree(home, ignore_errors=True)


def start_service(home: Path, **environment: str) -> Service:
    """Starts ``loupe up`` in ``home`` and waits until it is ready."""
    port = int(environment.get("LOUPE_PORT") or free_port())
    log = (home.parent / f"{home.name}-up.log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "app.cli", "up", "--home", str(home), "--port", str(port)],
        stdout=log,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("LOUPE_")},
            "LOUPE_EXAMINE_IMPORTS": "false",
            **environment,
        },
    )
    log.close()
    service = Service(f"http://127.0.0.1:{port}", home, process)

    def is_ready() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{service.url}/readyz", timeout=2).status_code == 200
        return False

    try:
        wait_for(is_ready, 90, "the service", alive=lambda: process.poll() is None, every=0.2)
    except AssertionError as error:
        process.kill()
        raise RuntimeError((home.parent / f"{home.name}-up.log").read_text(encoding="utf-8")) from error
    return service


def stop_service(service: Service, number: int = signal.SIGTERM) -> int:
    """Sends a signal to ``loupe up`` and returns its exit status."""
    if service.process.poll() is None:
        service.process.send_signal(number)
    return service.process.wait(60)


@dataclass
class Trained:
    """A product with a dataset, a finished training and its champion, behind the API of this process."""

    client: TestClient
    context: AppContext
    product: str
    dataset: str
    job: str


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trained]:
    """One real training for all tests that only read what came out."""
    settings = Settings(home=tmp_path_factory.mktemp("trained"), _env_file=None)
    for context in _open(settings):
        with local_client(settings, raise_server_exceptions=False) as client:
            dataset = import_pictures(client, context, "squares")
            body = {"product": "squares", "network": "tiny_cnn", "hyperparameters": TINY}
            job = client.post("/jobs", json=body).raise_for_status().json()["id"]
            run_queued(context)
            yield Trained(client, context, "squares", dataset, job)


@pytest.fixture(scope="session")
def packaged(trained: Trained) -> Artifact:
    """What the training left, to be read."""
    with trained.context.db.read() as session:
        model = session.scalars(select(TrainedModel).where(TrainedModel.job_id == trained.job)).one()
        return open_artifact(trained.context.storage.absolute(model.folder), digest=model.digest)
