"""The API as a process of its own, without workers, asked through a bare connection."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2 as httpx

from app.config import Settings
from app.db import Database
from app.migrations import upgrade
from tests.ports import free_port
from tests.waiting import wait_for

SLOW_SECONDS = 1.0
TRACE = "Traceback"
HEAD = b"POST /products HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@dataclass
class Api:
    """``python -m app.launch.api`` without workers."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def connect(self, seconds: float = 10, host: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection((host, self.port), timeout=seconds)

    def is_up(self) -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{self.port}/healthz", timeout=2).status_code == 200
        return False

    def ask(self, request: bytes) -> bytes:
        """All that comes back until the server closes."""
        with self.connect() as connection:
            connection.sendall(request)
            return read_all(connection)


@contextlib.contextmanager
def running(
    folder: Path, *, files: int | None = None, port: int | None = None, **environment: str
) -> Iterator[Api]:
    settings = Settings(home=folder / "home", _env_file=None)
    settings.home.mkdir(parents=True, exist_ok=True)
    database = Database(settings.resolved_database_url)
    upgrade(database)
    database.dispose()
    port = port or free_port()
    given = {"HOME": str(settings.home), "PORT": str(port), "SLOW_SECONDS": str(SLOW_SECONDS), **environment}
    log = folder / "api.log"

    def limit_files() -> None:
        if files is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app.launch.api"],
            env={**os.environ, **{f"LOUPE_{name}": value for name, value in given.items()}},
            stderr=output,
            preexec_fn=limit_files,
        )
    api = Api(process, port, log)
    try:
        wait_for(api.is_up, 60, "the API", alive=lambda: process.poll() is None)
        yield api
    finally:
        process.kill()
        process.wait()


def read_all(connection: socket.socket) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(2**16):
            received += chunk
    return received


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def problem_of(answer: bytes) -> dict[str, object]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head, answer
    found: dict[str, object] = json.loads(body)
    return found
