"""Processes that a request starts, so that it costs the API neither memory nor more than a bounded time.

One at a time in this process of the API. A few requests may wait for their turn; more are told to come again.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from app import child
from app.context import AppContext
from app.errors import AnalysisError, BusyError, LoupeError, StorageDamagedError, StorageFullError
from app.schemas.message import parse_message

logger = logging.getLogger(__name__)

T = TypeVar("T")

CPU_SECONDS = 120
"""Most processor time of one process; most take a few seconds."""
SECONDS = 300.0
"""A busy machine gives a process only a part of its time; past this it is ended too."""
MEMORY_BYTES = 2 * 2**30
"""What a process may allocate beyond what its imports take."""
MOST_WAITING = 8
"""Each that waits holds one of the threads that answer requests."""
WAIT_SECONDS = 60.0
LOG = "process.log"
_HINT = "The figures are there all the same: `GET /jobs/<job>/evaluation`."
_PATH = str(Path(__file__).parents[2])
_NICE = 5
_KEPT = ("LANG", "PATH", "VIRTUAL_ENV")

_turn = threading.BoundedSemaphore(1)
_places = threading.BoundedSemaphore(MOST_WAITING)


@contextmanager
def taking_turn(wait_seconds: float | None = None) -> Iterator[None]:
    """Waits until no other process runs. Raises BusyError."""
    if not _places.acquire(blocking=False):
        raise _busy()
    try:
        if not _turn.acquire(timeout=WAIT_SECONDS if wait_seconds is None else wait_seconds):
            raise _busy()
    finally:
        _places.release()
    try:
        yield
    finally:
        _turn.release()


def run_limited(
    context: AppContext,
    module: str,
    spec: Any,
    result_type: type[T],
    folder: Path,
    *,
    cpu_seconds: int | None = None,
    seconds: float | None = None,
) -> T:
    """Runs ``python -m module`` on the spec in ``folder``, and returns what it answers.

    ``cpu_seconds``: most processor time; ``seconds``: most time; None: those of an analysis. To be called
    within ``taking_turn``.

    Raises StorageDamagedError and StorageFullError for what the process says of its files, AnalysisError when
    it fails, takes too long or too much memory.
    """
    cpu_seconds = CPU_SECONDS if cpu_seconds is None else cpu_seconds
    seconds = SECONDS if seconds is None else seconds
    child.write_message(folder / child.SPEC, spec)
    fonts = context.storage.scratch / "matplotlib"
    # Nothing else of our own environment: what reads uploads has no use for keys and passwords.
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ} | {
        "PYTHONPATH": _PATH,
        "PYTHONHASHSEED": "0",
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MPLCONFIGDIR": str(fonts),  # a list of fonts that takes seconds to make
        child.MAX_PIXELS: str(context.settings.max_pixels),
    }
    with (
        (folder / LOG).open("wb") as output,
        subprocess.Popen(
            [sys.executable, "-m", module, str(folder)],
            stdin=subprocess.PIPE,  # stays open while this process lives: its end ends the child
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment,
        ) as process,
    ):
        try:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, process.pid, _NICE)
                if sys.platform == "linux":
                    resource.prlimit(process.pid, resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 5))
                    # Where memory runs out, the kernel ends this one, not the API.
                    Path(f"/proc/{process.pid}/oom_score_adj").write_text("1000")
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AnalysisError(f"It took more than {seconds:g} s.", hint=_HINT) from None
        finally:
            process.kill()
    if code == child.ExitCode.SUCCEEDED:
        return parse_message(result_type, (folder / child.RESULT).read_bytes(), child.RESULT)
    if code == -signal.SIGKILL:
        raise AnalysisError("The process that makes it was killed, as for lack of memory.", hint=_HINT)
    if code == -signal.SIGXCPU:
        raise AnalysisError(f"It took more than {cpu_seconds} s of processor time.", hint=_HINT)
    raise _explain(module, folder, code)


def _explain(module: str, folder: Path, code: int) -> LoupeError:
    error = child.read_error(folder)
    for kind in (StorageDamagedError, StorageFullError):
        if error is not None and error["code"] == kind.code:
            return kind(error["detail"], hint=error["hint"])
    log = (folder / LOG).read_text(encoding="utf-8", errors="replace")[-4000:]
    logger.error("%s ended with the exit code %s: %s", module, code, log)
    if error is not None and "MemoryError" in error["detail"]:
        return AnalysisError("It took more memory than it may.", hint=_HINT)
    return AnalysisError(
        "The process that makes it failed.", hint="The log of the API has the reason; report it as a fault."
    )


def _busy() -> BusyError:
    return BusyError("Other evaluations are being analysed.", hint="Try again in a few seconds.")
