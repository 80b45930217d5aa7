"""Runs one claimed job in a child process: beats its lease, passes on progress and wishes, names its end."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil

from app import child
from app.errors import (
    CrashedError,
    LoupeError,
    OutOfMemoryError,
    StalledError,
    StorageFullError,
    UnavailableError,
    is_disk_full,
)
from app.runtime import Runtime
from app.services import job_results, job_runs
from app.services.job_runs import Claim, ClaimLostError, Wishes
from app.workers.progress_file import ProgressFile
from app.workers.specs import MODULES, build_spec

logger = logging.getLogger(__name__)

T = TypeVar("T")

POLL_SECONDS = 0.2
REPORT_SECONDS = 0.5
# SIGTERM to exit must fit in 30 s; what is left is for giving the job back.
RELEASE_SECONDS = 25.0
CGROUP_EVENTS = Path("/sys/fs/cgroup/memory.events")


class Supervisor:
    """One claim, one child. ``shutdown`` is set when the worker process is asked to end."""

    def __init__(self, runtime: Runtime, claim: Claim, shutdown: threading.Event) -> None:
        self._runtime = runtime
        self._claim = claim
        self._shutdown = shutdown
        self._folder = runtime.storage.attempt(claim.job_id, claim.fence)
        self._progress = ProgressFile(self._folder / child.PROGRESS)
        self._process: subprocess.Popen[bytes] | None = None
        self._peak_bytes = 0
        self._last_progress = self._last_report = time.monotonic()
        self._finish_sent = False
        self._release_deadline: float | None = None
        self._oom_kills = _oom_kills()

    def run(self) -> None:
        """Supervises to the end. Returns quietly when the claim is lost: another worker has the job."""
        try:
            self._start()
            self._watch()
        except ClaimLostError:
            logger.warning("job %s: the claim is lost, its child is ended", self._claim.job_id)
        except Exception as error:
            logger.exception("job %s: the supervisor failed", self._claim.job_id)
            self._kill()
            problem = _as_loupe_error(error)
            with contextlib.suppress(ClaimLostError):
                self._persist(lambda: job_runs.fail(self._runtime, self._claim, problem.as_dict()))
        finally:
            self._kill()
            self._runtime.storage.remove(self._folder)

    def _start(self) -> None:
        self._folder.mkdir(parents=True)
        child.write_json(self._folder / child.SPEC, build_spec(self._runtime, self._claim))
        log = self._runtime.storage.job(self._claim.job_id) / f"process-{self._claim.attempt:04d}.log"
        with log.open("wb") as output:
            # The pipe stays open as long as this process lives: its end is how the child learns of ours.
            self._process = subprocess.Popen(
                [sys.executable, "-m", MODULES[self._claim.kind], str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )

    def _watch(self) -> None:
        assert self._process is not None
        while self._process.poll() is None:
            time.sleep(POLL_SECONDS)
            self._pass_on_shutdown()
            now = time.monotonic()
            if now - self._last_report < REPORT_SECONDS:
                continue
            lines = self._progress.read()
            if lines:
                self._last_progress = now
            if lines or now - self._last_report >= self._runtime.settings.heartbeat_seconds:
                self._sample_memory()
                wishes = self._report(lines)
                if wishes is not None and wishes.cancel:
                    self._kill()
                    self._persist(lambda: job_runs.cancelled(self._runtime, self._claim))
                    self._runtime.storage.remove(self._runtime.storage.job_checkpoints(self._claim.job_id))
                    return
                if wishes is not None and wishes.pause and self._release_deadline is None:
                    self._ask_to_leave()
                if wishes is not None and wishes.stop and not self._finish_sent:
                    self._signal(signal.SIGUSR1)
                    self._finish_sent = True
            if now - self._last_progress > self._runtime.settings.stall_seconds:
                self._kill()
                limit = self._runtime.settings.stall_seconds
                self._give_up(StalledError(f"No progress for {limit:.0f} seconds."))
                return
        self._drain()
        self._settle(self._process.returncode)

    def _report(self, lines: list[dict[str, Any]]) -> Wishes | None:
        """None while the database does not answer: the child goes on and the lines stay in their file."""
        self._last_report = time.monotonic()
        try:
            wishes = job_runs.report(self._runtime, self._claim, lines)
        except UnavailableError as error:
            logger.warning("job %s: %s Training goes on.", self._claim.job_id, error.detail)
            return None
        self._progress.confirm()
        return wishes

    def _drain(self) -> None:
        """Stores the last lines, however long the database takes to come back."""
        while lines := self._progress.read():
            self._persist(lambda lines=lines: job_runs.report(self._runtime, self._claim, lines))  # type: ignore[misc]
            self._progress.confirm()

    def _settle(self, code: int) -> None:
        """The child has ended by itself, or on our request to leave."""
        if code == child.ExitCode.SUCCEEDED:
            result = json.loads((self._folder / child.RESULT).read_text(encoding="utf-8"))
            self._persist(lambda: self._finish(result))
        elif code == child.ExitCode.RELEASED:
            self._persist(lambda: job_runs.release(self._runtime, self._claim))
        elif code == child.ExitCode.FAILED and (self._folder / child.ERROR).exists():
            error = json.loads((self._folder / child.ERROR).read_text(encoding="utf-8"))
            # Another attempt may end differently after a crash; a full disk waits for a person to make room.
            is_worth_another = error["retryable"] and error["code"] != StorageFullError.code
            end = job_runs.retry_or_fail if is_worth_another else job_runs.fail
            self._persist(lambda: end(self._runtime, self._claim, error))
        elif self._release_deadline is not None:
            self._persist(lambda: job_runs.release(self._runtime, self._claim))
        else:
            self._give_up(self._cause_of_death(code))

    def _finish(self, result: dict[str, Any]) -> None:
        match self._claim.kind:
            case "training":
                job_results.finish_training(self._runtime, self._claim, result)
                self._runtime.storage.remove(self._runtime.storage.job_checkpoints(self._claim.job_id))
            case "import":
                job_runs.finish_import(self._runtime, self._claim, result)
            case "export":
                job_runs.finish_export(self._runtime, self._claim, result)
            case _:
                job_results.finish_evaluation(self._runtime, self._claim, result, self._folder)

    def _give_up(self, error: LoupeError) -> None:
        self._persist(lambda: job_runs.retry_or_fail(self._runtime, self._claim, error.as_dict()))

    def _persist(self, write: Callable[[], T]) -> T:
        """Repeats ``write`` until the database answers; raises ClaimLostError if the job moved on."""
        while True:
            try:
                return write()
            except UnavailableError as error:
                deadline = self._release_deadline
                if self._shutdown.is_set() and deadline is not None and time.monotonic() > deadline:
                    raise ClaimLostError(self._claim.job_id) from error
                time.sleep(1)

    def _pass_on_shutdown(self) -> None:
        if self._shutdown.is_set() and self._release_deadline is None:
            self._ask_to_leave()
        elif self._release_deadline is not None and time.monotonic() > self._release_deadline:
            self._kill()

    def _ask_to_leave(self) -> None:
        """The child checkpoints and ends; past the deadline it is ended, and its last checkpoint counts."""
        self._release_deadline = time.monotonic() + RELEASE_SECONDS
        self._signal(signal.SIGTERM)

    def _cause_of_death(self, code: int) -> LoupeError:
        log = f"jobs/{self._claim.job_id}/process-{self._claim.attempt:04d}.log"
        seen = f"{self._peak_bytes / 2**20:.0f} MiB"
        if code >= 0:
            return CrashedError(f"The process ended with exit code {code}.", hint=f"See {log}.")
        name = signal.Signals(-code).name
        if -code == signal.SIGKILL and (
            _oom_kills() > self._oom_kills or self._peak_bytes > 0.8 * psutil.virtual_memory().total
        ):
            return OutOfMemoryError(
                f"The system ended the process for lack of memory; it used {seen} when last seen.",
                hint="Use a smaller batch_size or image_size, or a machine with more memory.",
            )
        return CrashedError(
            f"The process was ended by {name}; it used {seen} when last seen.", hint=f"See {log}."
        )

    def _sample_memory(self) -> None:
        assert self._process is not None
        with contextlib.suppress(psutil.Error):
            self._peak_bytes = max(self._peak_bytes, psutil.Process(self._process.pid).memory_info().rss)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    def _kill(self) -> None:
        """Ends the child and all that it started; they share a process group."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()


def _as_loupe_error(error: Exception) -> LoupeError:
    if is_disk_full(error):
        return StorageFullError(str(error), hint="Free some space where LOUPE_HOME lives, then start again.")
    return error if isinstance(error, LoupeError) else CrashedError(f"{type(error).__name__}: {error}")


def _oom_kills() -> int:
    """Processes that the kernel has killed for memory in this control group."""
    with contextlib.suppress(OSError, ValueError):
        for line in CGROUP_EVENTS.read_text(encoding="ascii").splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0
