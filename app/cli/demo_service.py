"""The Loupe that the demo talks to: one that runs already, or one that it starts and ends."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from app.cli.client import Client, CommandError
from app.cli.console import err, note
from app.errors import LoupeError

START_SECONDS = 90.0
STOP_SECONDS = 60.0
POLL_SECONDS = 0.2
ADDRESS_FILE = "demo.json"
LOCK_FILE = "up.lock"


@dataclass
class DemoService:
    """``process`` is None for a Loupe that somebody else started."""

    url: str
    process: subprocess.Popen[bytes] | None = None


@contextmanager
def running_service(home: Path, port: int) -> Iterator[DemoService]:
    """The Loupe in ``home``: one that runs, or one started on ``port`` or a free one, and ended after use."""
    home.mkdir(parents=True, exist_ok=True)
    if (url := _running_url(home)) is not None:
        note(f"A Loupe runs in {home} already: {url}")
        yield DemoService(url)
        return
    service = _start(home, port)
    previous = signal.signal(signal.SIGTERM, _end)
    try:
        _wait_until_ready(service, home)
        yield service
    finally:
        _stop(service)
        signal.signal(signal.SIGTERM, previous)


def stay(service: DemoService) -> None:
    """Waits until the service ends or Ctrl-C ends it."""
    if service.process is not None:
        with suppress(KeyboardInterrupt):
            service.process.wait()


def _running_url(home: Path) -> str | None:
    """Where the Loupe of ``home`` answers, if one runs: it holds the lock of its home as long as it lives."""
    if not _is_locked(home / LOCK_FILE):
        return None
    with suppress(LoupeError, OSError, ValueError, KeyError):
        url: str = json.loads((home / ADDRESS_FILE).read_text(encoding="utf-8"))["url"]
        if Client(url).get("/readyz")["ready"]:
            return url
    raise CommandError(
        f"A Loupe runs in {home} already, but the demo does not know where it answers.",
        hint=f"End it, give its address with --server, or choose another folder: loupe demo --home {home}-2",
    )


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _start(home: Path, port: int) -> DemoService:
    chosen = port if _is_free(port) else _free_port()
    if chosen != port:
        note(f"Port {port} is taken; the demo uses {chosen}.")
    service = DemoService(f"http://127.0.0.1:{chosen}")
    command = [
        sys.executable,
        "-P",
        "-m",
        "app.cli",
        "up",
        "--host",
        "127.0.0.1",
        "--port",
        str(chosen),
        "--home",
        str(home),
    ]
    # The demo keeps to its own folder, whatever database the settings around it name.
    environment = {
        "LOUPE_EXAMINE_IMPORTS": "false",  # which would take longer than the training
        **os.environ,
        "LOUPE_DATABASE_URL": "",
        "LOUPE_REDIS_URL": "",
    }
    service.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment)
    (home / ADDRESS_FILE).write_text(json.dumps({"url": service.url}), encoding="utf-8")
    return service


def _wait_until_ready(service: DemoService, home: Path) -> None:
    assert service.process is not None
    client = Client(service.url)
    deadline = time.monotonic() + START_SECONDS
    with err.status(f"Loupe is starting in {home} …"):
        while time.monotonic() < deadline:
            if (status := service.process.poll()) is not None:
                raise CommandError(
                    f"Loupe ended with status {status} right after its start.",
                    hint=f"Its words stand above; more in {home / 'logs'}.",
                )
            with suppress(LoupeError):
                client.get("/readyz")
                return
            time.sleep(POLL_SECONDS)
    raise CommandError(
        f"Loupe was not ready after {START_SECONDS:.0f} seconds.", hint=f"See {home / 'logs'}."
    )


def _stop(service: DemoService) -> None:
    assert service.process is not None
    if service.process.poll() is None:
        service.process.terminate()
    deadline = time.monotonic() + STOP_SECONDS
    while service.process.poll() is None:
        # Ctrl-C once more changes nothing: the workers are ending their children.
        with suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
            service.process.wait(max(0.0, deadline - time.monotonic()))
        if time.monotonic() > deadline:
            service.process.kill()


def _end(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server will: a port whose last connections are still closing down is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
