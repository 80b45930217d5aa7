"""A server that is measured: started, asked, looked at from outside, ended with all its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.serving_http.load import Answer, ask

_START_SECONDS = 120.0
_STOP_SECONDS = 10.0
_POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Launch:
    """How a server is started. ``beside``: commands of what it needs, started before the clock."""

    command: Sequence[str]
    environment: dict[str, str] = field(default_factory=dict)
    beside: Sequence[Sequence[str]] = ()
    path: str = "/predict"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Memory:
    """``rss_mb`` counts what processes share once for each; ``pss_mb`` divides it among all that share it.

    PSS is too low where others on the machine, such as a second Loupe, use the same libraries.
    """

    rss_mb: float
    pss_mb: float


class StartError(Exception):
    """A server that did not answer; the message ends with its last words."""


class Server:
    """The processes of one launch."""

    def __init__(self, launch: Launch, port: int, log: Path) -> None:
        self.port = port
        self._log = log
        # What is set for this shell is set for no server. A server's own code compiles once, as usual.
        self._environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("LOUPE_") and name != "PYTHONDONTWRITEBYTECODE"
        } | launch.environment
        self._processes = [self._start(command) for command in launch.beside]
        self._started = time.perf_counter()
        self._main = self._start(launch.command)
        self._processes.append(self._main)

    def first_answer(self, request: bytes) -> float:
        """Seconds from the start of the process to its first prediction. Raises StartError."""
        answer: Answer | None = None
        while time.perf_counter() < self._started + _START_SECONDS:
            if self._main.poll() is not None:
                break
            with suppress(OSError):
                answer = ask(self.port, request)
                if answer.status == 200:
                    return time.perf_counter() - self._started
            time.sleep(_POLL_SECONDS)
        words = self._log.read_text(encoding="utf-8", errors="replace")[-2000:]
        raise StartError(f"no prediction; the last answer: {answer}; its log ends with:\n{words}")

    def cpu_seconds(self) -> float:
        """Of all its processes, those that have ended included."""
        total = 0.0
        for process in self._all():
            with suppress(psutil.Error):
                total += sum(process.cpu_times()[:4])
        return total

    def memory(self) -> Memory:
        """Of all its processes."""
        rss = pss = 0
        for process in self._all():
            with suppress(psutil.Error):
                info = process.memory_full_info()
                rss, pss = rss + info.rss, pss + info.pss
        return Memory(rss / 1e6, pss / 1e6)

    def first_process_mb(self) -> float:
        """RSS of the process that was started."""
        return float(psutil.Process(self._main.pid).memory_info().rss / 1e6)

    def processes(self) -> int:
        return len(self._all())

    def stop(self) -> None:
        family = self._all()
        self._main.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._main.wait(_STOP_SECONDS)
        for process in family:
            with suppress(psutil.Error):
                process.kill()
        psutil.wait_procs(family, _STOP_SECONDS)
        for process in self._processes:
            process.wait(_STOP_SECONDS)

    def _start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            return subprocess.Popen(
                command, env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def _all(self) -> list[psutil.Process]:
        found = []
        for process in self._processes:
            with suppress(psutil.Error):
                parent = psutil.Process(process.pid)
                found += [parent, *parent.children(recursive=True)]
        return found
