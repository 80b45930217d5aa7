"""A real worker process in ``GET /workers``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from app import __version__, migrations
from app.config import Settings
from app.context import AppContext
from tests.chaos.servers import RedisServer
from tests.clients import local_client
from tests.waiting import wait_for

pytestmark = pytest.mark.integration

TIMES: dict[str, Any] = {"lease_seconds": 2.0, "heartbeat_seconds": 0.5}


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


def start_worker(settings: Settings, queue: str) -> subprocess.Popen[bytes]:
    given = {"home": settings.home, "redis_url": settings.redis_url, **TIMES}
    environment = {f"LOUPE_{name.upper()}": str(value) for name, value in given.items()}
    command = [sys.executable, "-m", "app.workers", "--queue", queue]
    with (settings.home / f"{queue}.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})


def test_it_appears_beats_and_goes_or_is_lost(tmp_path: Path, redis_server: RedisServer) -> None:
    settings = Settings(home=tmp_path / "home", redis_url=redis_server.url, **TIMES, _env_file=None)
    context = AppContext.open(settings)
    migrations.upgrade(context.db)
    processes = {queue: start_worker(settings, queue) for queue in ("training", "tasks")}
    with local_client(settings) as client:

        def statuses() -> dict[int, str]:
            return {worker["pid"]: worker["status"] for worker in client.get("/workers").json()["data"]}

        training, tasks = processes["training"].pid, processes["tasks"].pid
        wait_for(lambda: statuses() == {training: "alive", tasks: "alive"}, 60, "both workers")
        found = {worker["queue"]: worker for worker in client.get("/workers").json()["data"]}
        assert found["training"]["version"] == __version__
        assert found["tasks"]["concurrency"] == settings.task_concurrency
        assert found["tasks"]["devices"]["cpu_cores"] == len(os.sched_getaffinity(0))
        assert found["tasks"]["devices"]["memory_bytes"] <= psutil.virtual_memory().total

        processes["training"].kill()
        processes["training"].wait()
        processes["tasks"].send_signal(signal.SIGTERM)
        assert processes["tasks"].wait(60) == 0
        assert tasks not in statuses()
        wait_for(lambda: statuses() == {training: "lost"}, 60, "the loss of the worker")
    context.close()
