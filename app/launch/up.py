"""``loupe up``: the whole service as one tree of processes, started together and ended together."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2 as httpx
import psutil

from app.config import Settings, environment_of, local_url
from app.db import Database
from app.errors import LoupeError
from app.host.gpus import find_gpus
from app.job_queue import JobQueue
from app.launch.api import check_protected
from app.launch.redis_server import redis_command
from app.logs import TRACE_MARGIN
from app.migrations import upgrade
from app.storage.home import check_at_start

logger = logging.getLogger(__name__)

PR_SET_PDEATHSIG = 1
POLL_SECONDS = 0.2
READY_SECONDS = 60.0
# A worker may take 25 s to checkpoint its training; see the supervisor.
STOP_SECONDS = 30.0
QUICK_DEATH_SECONDS = 5.0
MAX_QUICK_DEATHS = 5
MAX_PAUSE_SECONDS = 10.0
REDIS_ROUND_SECONDS = 2.0
# A frozen Redis may come back by itself; one whose socket is gone cannot.
REDIS_SILENT_SECONDS = 90.0
REDIS_LOST_SECONDS = 6.0
REMAINS_SECONDS = 40.0


class UpError(LoupeError):
    status, code, title = 500, "up_failed", "Loupe could not start"


@dataclass
class Part:
    """One process of the tree, restarted when it ends by itself."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    quick_deaths: int = 0
    not_before: float = 0.0
    environment: dict[str, str] = field(default_factory=dict)
    remains: int = -1


def up(settings: Settings) -> int:
    """Runs until Ctrl-C or SIGTERM; returns the exit status. Raises LoupeError when it cannot start."""
    check_protected(settings)
    check_at_start(settings)
    find_gpus(settings.gpus)
    settings.home.mkdir(parents=True, exist_ok=True)
    with _only_one(settings.home), _stop_signal() as stop, _without_remains(settings.home, stop) as remains:
        if stop.is_set():
            return 0
        require_free_port(settings)
        database = Database(settings.resolved_database_url)
        upgrade(database)
        database.dispose()
        parts = _parts(settings)
        try:
            for part in parts:
                part.remains = remains
                _start(part, settings.home)
            _wait_until_ready(settings, parts, stop)
            if not stop.is_set():
                url = local_url(settings.host, settings.port)
                _say(f"Loupe is ready: {url}  (API: {url}/docs, files: {settings.home})")
            watch = None if settings.redis_url else _RedisWatch(settings, parts[0])
            while not stop.wait(POLL_SECONDS):
                _restart_ended(parts, settings.home)
                if watch is not None:
                    watch.look()
        finally:
            _stop_all(parts)
    _say("Loupe has ended.")
    return 0


def _parts(settings: Settings) -> list[Part]:
    python = sys.executable
    environment = environment_of(settings)
    parts = [] if settings.redis_url else [Part("redis", redis_command(settings))]
    for queue in ("tasks", "training"):
        command = [python, "-m", "app.workers", "--queue", queue]
        own = dict(environment)
        if settings.worker_metrics_port and queue == "tasks":
            own["LOUPE_WORKER_METRICS_PORT"] = str(settings.worker_metrics_port + 1)
        parts.append(Part(f"worker-{queue}", command, environment=own))
    parts.append(Part("api", [python, "-m", "app.launch.api"], environment=environment))
    return parts


def _start(part: Part, home: Path) -> None:
    logs = home / "logs"
    logs.mkdir(exist_ok=True)
    with (logs / f"{part.name}.log").open("ab") as log:
        part.process = subprocess.Popen(
            part.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **part.environment},
            cwd=home,
            pass_fds=(part.remains,),
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the parts in order
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )
    part.started = time.monotonic()


def _end_with_parent() -> None:
    """In the child, before it becomes its program: SIGTERM when this process dies, however it dies."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _restart_ended(parts: list[Part], home: Path, *, may_give_up: bool = False) -> None:
    """Starts again what has ended, after a pause that grows while it ends right after its start."""
    now = time.monotonic()
    for part in parts:
        if part.process is not None and part.process.poll() is not None:
            quick = now - part.started < QUICK_DEATH_SECONDS
            part.quick_deaths = part.quick_deaths + 1 if quick else 0
            if may_give_up and part.quick_deaths >= MAX_QUICK_DEATHS:
                raise _cannot_start(part, home)
            pause = min(MAX_PAUSE_SECONDS, 0.25 * 2**part.quick_deaths) if quick else 0.0
            _say(f"{part.name} ended with status {part.process.returncode}; it is started again.")
            part.process, part.not_before = None, now + pause
        if part.process is None and now >= part.not_before:
            try:
                _start(part, home)
            except OSError as error:
                _say(f"{part.name} cannot be started now: {error}")
                part.not_before = now + MAX_PAUSE_SECONDS


class _RedisWatch:
    """Ends a Redis that lives but cannot be reached, so that it is started again."""

    def __init__(self, settings: Settings, part: Part) -> None:
        self._settings, self._part = settings, part
        self._queue = JobQueue(settings)
        self._next = self._heard = time.monotonic()

    def look(self) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        if self._queue.is_up():
            self._heard = time.monotonic()
        self._next = time.monotonic() + REDIS_ROUND_SECONDS
        is_lost = not self._settings.redis_socket.exists()
        patience = REDIS_LOST_SECONDS if is_lost else REDIS_SILENT_SECONDS
        silent = self._next - max(self._heard, self._part.started)
        if silent > patience and self._part.process is not None:
            _say(f"{self._part.name} does not answer; it is ended.")
            self._part.process.kill()
            self._heard = time.monotonic()


def _wait_until_ready(settings: Settings, parts: list[Part], stop: threading.Event) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not stop.is_set():
        api = parts[-1]
        # Another Loupe may answer there: one that took the port since it was looked at.
        if listens(api, settings.port) and _answers(f"{local_url(settings.host, settings.port)}/readyz"):
            return
        if api.process is not None and api.process.poll() is not None:
            raise _cannot_start(api, settings.home)
        if time.monotonic() > deadline:
            raise UpError(
                f"The API was not ready after {READY_SECONDS:.0f} seconds.",
                hint=f"See {settings.home / 'logs'}.",
            )
        _restart_ended(parts, settings.home, may_give_up=True)
        stop.wait(POLL_SECONDS)


def _cannot_start(part: Part, home: Path) -> UpError:
    log = home / "logs" / f"{part.name}.log"
    last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["nothing"]
    return UpError(
        f"{part.name} ended right after its start; its last words: {last[0].removeprefix(TRACE_MARGIN)}",
        hint=f"See {log}.",
    )


def require_free_port(settings: Settings) -> None:
    """Raises UpError where another program listens on the address already."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UpError(
            f"LOUPE_HOST is {settings.host}, which is no address of this machine: {error.strerror}.",
            hint="Set it to 127.0.0.1, or to an address that `ip address` lists.",
        ) from error
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            # As the server will: a port whose last connections are still closing down is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(address)
            except OSError as error:
                raise _cannot_listen(settings, error) from error


def _cannot_listen(settings: Settings, error: OSError) -> UpError:
    where = local_url(settings.host, settings.port)
    other = settings.port + 1 if settings.port < 65535 else 8000
    another = f"choose another port: loupe up --port {other}, or LOUPE_PORT={other} for every command."
    if error.errno != errno.EADDRINUSE:
        return UpError(
            f"Loupe cannot listen on {settings.host}, port {settings.port}: {error.strerror}.",
            hint=f"Set LOUPE_HOST to 127.0.0.1, or {another}",
        )
    if _answers(f"{where}/readyz"):
        return UpError(
            f"Port {settings.port} is taken: another Loupe answers at {where}.",
            hint=f"Use that one, or {another}",
        )
    return UpError(
        f"Port {settings.port} is taken by another program.", hint=f"End that program, or {another}"
    )


def listens(part: Part, port: int) -> bool:
    """Whether the process of ``part`` itself is what takes requests on ``port``."""
    if part.process is None:
        return False
    try:
        connections = psutil.Process(part.process.pid).net_connections("tcp")
    except psutil.Error:
        return False
    return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.TransportError):
        # A proxy for the outside world cannot reach this machine's own addresses.
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    return False


def _stop_all(parts: list[Part]) -> None:
    """No new requests and no new jobs; the workers checkpoint what they run; Redis, which they need, last."""
    for is_redis in (False, True):
        group = [part.process for part in parts if (part.name == "redis") is is_redis]
        running = [process for process in group if process is not None and process.poll() is None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()


@contextlib.contextmanager
def _only_one(home: Path) -> Iterator[None]:
    """Two embedded services in one home would share a socket: the second is refused."""
    with (home / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UpError(
                f"Another `loupe up` runs in {home} already.",
                hint="Use that one, or choose another folder: loupe up --home DIR.",
            ) from error
        yield


@contextlib.contextmanager
def _without_remains(home: Path, stop: threading.Event) -> Iterator[int]:
    """Waits until every part of an earlier `loupe up` here has ended, by a lock that the parts inherit.

    After that one was killed its parts are told to end and checkpoint first: meanwhile they hold the port and
    Redis's socket. Yields the file descriptor that the new parts are to inherit.
    """
    with (home / "parts.lock").open("w") as lock:
        deadline = time.monotonic() + REMAINS_SECONDS
        is_waiting = False
        while not stop.is_set():
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            if not is_waiting:
                is_waiting = True
                _say("Waiting for the parts of an earlier `loupe up` to end.")
            if time.monotonic() > deadline:
                raise UpError(
                    f"Parts of an earlier `loupe up` in {home} did not end.",
                    hint=f"`fuser {home / 'parts.lock'}` lists them; end them with kill -9.",
                )
            stop.wait(POLL_SECONDS)
        yield lock.fileno()


@contextlib.contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
