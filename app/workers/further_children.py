"""Children that a job needs after its own: run one at a time, repeated where somebody kills them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from app import child
from app.jobs.kinds.base import ChildFailedError
from app.workers.child_process import ChildProcess

logger = logging.getLogger(__name__)

T = TypeVar("T")

TRIES = 3
ROUND_SECONDS = 0.1


class ClosedError(Exception):
    """The job is left: nobody waits for the answer any more."""


class FurtherChildren:
    """Those of one claim, in folders below ``folder``. ``log``: where their output goes."""

    def __init__(self, folder: Path, log: Path, environment: Mapping[str, str], stall_seconds: float) -> None:
        self._folder, self._log, self._environment = folder, log, environment
        self._stall_seconds = stall_seconds
        self._lock = threading.Lock()
        self._is_closed = False
        self._child: ChildProcess | None = None
        self._started = len(list(folder.glob("further-*")))

    def run(self, module: str, spec: Any, result_type: type[T]) -> T:
        """What ``python -m module`` answers to the spec. It is started again where it ends without a reason.

        Raises ChildFailedError with the reason that it leaves, or how it ended the last time.
        """
        reason = ""
        for _ in range(TRIES):
            one = self._start(module, spec)
            if self._wait(one) and one.exit_code == child.ExitCode.SUCCEEDED:
                return one.read_result(result_type)
            if (error := one.read_error()) is not None:
                raise ChildFailedError(error["detail"])
            reason = one.explain_exit(self._log.name).detail
            logger.warning("%s ended with the exit status %d", module, one.exit_code)
        raise ChildFailedError(f"It was tried {TRIES} times. {reason}")

    def close(self) -> None:
        """Ends the one that runs; none is started after it."""
        with self._lock:
            self._is_closed = True
            if self._child is not None:
                self._child.kill()

    def _start(self, module: str, spec: Any) -> ChildProcess:
        with self._lock:
            if self._is_closed:
                raise ClosedError
            self._started += 1
            self._child = ChildProcess(self._folder / f"further-{self._started}")
            self._child.start(module, spec, self._log, self._environment)
            return self._child

    def _wait(self, one: ChildProcess) -> bool:
        """False where it was ended, since it said nothing for too long."""
        progress = self._folder / f"further-{self._started}" / child.PROGRESS
        said, size = time.monotonic(), -1
        try:
            while one.is_running:
                time.sleep(ROUND_SECONDS)
                one.sample_memory()
                now = progress.stat().st_size if progress.exists() else 0
                if now != size:
                    said, size = time.monotonic(), now
                if time.monotonic() - said > self._stall_seconds:
                    return False
            return True
        finally:
            one.kill()
