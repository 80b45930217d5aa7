"""The process of one attempt at a job: started, signalled, watched for memory, ended, its end explained."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from app import child
from app.errors import LoupeError
from app.schemas.message import parse_message
from app.workers.exit_cause import MemoryWatch, explain_exit

T = TypeVar("T")

# SIGTERM to exit must fit in 30 s; what is left is for giving the job back.
RELEASE_SECONDS = 25.0


class ChildProcess:
    """One child in ``folder``; see ``app/child.py`` for what lies there. Not started until ``start``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._memory = MemoryWatch()
        self._deadline: float | None = None
        self._is_finishing = False
        self.was_asked_to_leave = False

    def start(self, module: str, spec: Any, log: Path, environment: Mapping[str, str]) -> int:
        """Runs ``python -m module`` on the spec, its output in ``log``; returns the process id."""
        self._folder.mkdir(parents=True)
        child.write_message(self._folder / child.SPEC, spec)
        with log.open("wb") as output:
            # The pipe stays open as long as this process lives: its end is how the child learns of ours.
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**_own_environment(), "PYTHONUNBUFFERED": "1", **environment},
            )
        return self._process.pid

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int:
        """Of a child that has ended: its exit status or, negative, the signal."""
        assert self._process is not None
        assert self._process.returncode is not None
        return self._process.returncode

    def sample_memory(self) -> None:
        """Notes how much memory the process takes now."""
        if self._process is not None:
            self._memory.sample(self._process.pid)

    def finish_early(self) -> None:
        """Asks for an early end that keeps the best epoch, once. To be called again until the child ends: one
        that does not listen yet is not asked."""
        # A child that has not bound its signals would end by this one; it opens its progress file after that.
        if not self._is_finishing and (self._folder / child.PROGRESS).exists():
            self._is_finishing = True
            self._signal(signal.SIGUSR1)

    def ask_to_leave(self) -> None:
        """Asks for a checkpoint and an end, once; past ``RELEASE_SECONDS`` ``is_late`` holds."""
        if self._deadline is None:
            self._deadline = time.monotonic() + RELEASE_SECONDS
            self.was_asked_to_leave = self.is_running
            self._signal(signal.SIGTERM)

    @property
    def is_late(self) -> bool:
        """Whether it was asked to leave so long ago that nobody can wait for it any more."""
        return self._deadline is not None and time.monotonic() > self._deadline

    def kill(self) -> None:
        """Ends the child and all that it started; they share a process group."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def read_result(self, result_type: type[T]) -> T:
        """What a child that succeeded has left. Raises InvalidRequestError, OSError."""
        return parse_message(result_type, (self._folder / child.RESULT).read_bytes(), child.RESULT)

    def read_error(self) -> dict[str, Any] | None:
        """The reason that a child left when it failed."""
        return child.read_error(self._folder)

    def explain_exit(self, log: str) -> LoupeError:
        """The error of a child that left no reason; ``log`` is where a person finds more."""
        return explain_exit(self.exit_code, self._memory, log)

    @property
    def was_killed_from_outside(self) -> bool:
        """Whether somebody killed it, and not the kernel for lack of memory."""
        return self.exit_code == -signal.SIGKILL and not self._memory.has_lacked()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def _own_environment() -> dict[str, str]:
    """Without the wish that no bytecode be kept, as images of containers often have it: each child would then
    compile TensorFlow's sources anew, which takes longer than all else of a short job.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
