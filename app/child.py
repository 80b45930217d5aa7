"""How a worker and its child process talk: a spec in, progress lines out, signals to stop, an exit code.

A child is started as ``python -m app.<package> FOLDER``. ``FOLDER/spec.json`` says what to do. The child
appends one JSON object a line to ``FOLDER/progress.jsonl``, leaves ``FOLDER/result.json`` when it succeeds
and ``FOLDER/error.json`` when it fails. Files rather than pipes: progress outlives the parent's outages.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, TypeVar

from app.errors import CrashedError, LoupeError, StorageFullError, is_disk_full
from app.host import failpoints
from app.host.files import write_aside, write_json
from app.images import decode
from app.logs import configure_logging, log_context
from app.schemas.job_kinds import JobStage
from app.schemas.message import dump_message, parse_message
from app.schemas.progress_lines import AliveLine, AnyLine, StageLine

logger = logging.getLogger(__name__)

# Variables that say how the child logs, and for which job.
LOG_LEVEL, LOG_FORMAT, JOB_ID = "LOUPE_LOG_LEVEL", "LOUPE_LOG_FORMAT", "LOUPE_JOB_ID"
MAX_PIXELS = "LOUPE_MAX_PIXELS"
SPEC, PROGRESS, RESULT, ERROR = "spec.json", "progress.jsonl", "result.json", "error.json"


class ExitCode(IntEnum):
    """What a child's exit status means to its supervisor."""

    SUCCEEDED = 0
    FAILED = 1
    DISK_FULL = 74  # EX_IOERR: not even the reason could be written
    RELEASED = 75  # EX_TEMPFAIL: checkpointed on request, to be continued by another attempt
    ORPHANED = 76


ALIVE_SECONDS = 5.0
WAIT_SECONDS = 0.02
PR_SET_PDEATHSIG = 1


class Reporter:
    """Appends progress lines."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8", buffering=1)
        self._said_alive = time.monotonic()

    def emit(self, line: AnyLine) -> None:
        self._file.write(line.model_dump_json() + "\n")

    def alive(self) -> None:
        """Says from inside long work without other lines that it goes on; at most every few seconds."""
        if time.monotonic() - self._said_alive >= ALIVE_SECONDS:
            self._said_alive = time.monotonic()
            self.emit(AliveLine())

    def stage(self, name: JobStage) -> None:
        """Announces a stage of the job."""
        self.emit(StageLine(stage=name))

    def close(self) -> None:
        self._file.close()


class StopSignal:
    """What the parent has asked for.

    ``release`` (SIGTERM): checkpoint and leave. ``finish`` (SIGUSR1): end early, keep the best epoch.
    """

    def __init__(self) -> None:
        self.release = False
        self.finish = False

    def install(self) -> None:
        """Binds the signals; call from the main thread."""
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "release", True))
        signal.signal(signal.SIGUSR1, lambda *_: setattr(self, "finish", True))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C belongs to the parent, which then sends SIGTERM


class Released(Exception):
    """Raised by a child's work once it has checkpointed and is ready to leave."""


Spec = TypeVar("Spec")
Work = Callable[[Spec, Path, Reporter, StopSignal], Any]
"""What a child does with its spec; it returns the message that becomes ``result.json``."""


def run_child(work: Work[Spec], spec_type: type[Spec], folder: Path, *, waits: bool = False) -> int:
    """Runs ``work(spec, folder, reporter, stop)`` and turns its outcome into files and an exit code.

    ``waits``: the spec may come later than the process, which has its imports done by then.
    """
    configure_logging(
        os.environ.get(LOG_LEVEL, "INFO"), "json" if os.environ.get(LOG_FORMAT) == "json" else "text"
    )
    decode.limit_pixels(int(os.environ.get(MAX_PIXELS) or decode.MAX_PIXELS))
    with log_context(job_id=os.environ.get(JOB_ID)):
        return _run_child(work, spec_type, folder, waits)


def _run_child(work: Work[Spec], spec_type: type[Spec], folder: Path, waits: bool) -> int:
    _end_with_parent()
    stop = StopSignal()
    stop.install()
    # After the signals are bound: once this file is there, the parent may send them.
    reporter = Reporter(folder / PROGRESS)
    try:
        if waits:
            _wait_for(folder / SPEC, stop)
        spec = parse_message(spec_type, (folder / SPEC).read_bytes(), SPEC)
        failpoints.pass_by("child.started")
        write_message(folder / RESULT, work(spec, folder, reporter, stop))
        return ExitCode.SUCCEEDED
    except Released:
        return ExitCode.RELEASED
    except Exception as error:
        logger.exception("the child process failed")
        try:
            write_json(folder / ERROR, _as_loupe_error(error).as_dict())
        except OSError:
            return ExitCode.DISK_FULL if is_disk_full(error) else ExitCode.FAILED
        return ExitCode.FAILED
    finally:
        with contextlib.suppress(OSError):
            reporter.close()


def _wait_for(spec: Path, stop: StopSignal) -> None:
    """Without a limit: this process ends with its parent."""
    while not spec.exists():
        if stop.release:
            raise Released
        time.sleep(WAIT_SECONDS)


def write_message(path: Path, message: Any) -> None:
    """Writes a spec or a result: a reader sees the whole file or none."""
    with write_aside(path) as aside:
        aside.write_bytes(dump_message(message))


def read_error(folder: Path) -> dict[str, Any] | None:
    """The reason that a child left in ``folder`` when it failed, as ``LoupeError.as_dict`` gives it."""
    try:
        error: dict[str, Any] = json.loads((folder / ERROR).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return error


def _as_loupe_error(error: Exception) -> LoupeError:
    if isinstance(error, LoupeError):
        return error
    if is_disk_full(error):
        return StorageFullError(
            str(error), hint="Free some space where LOUPE_HOME lives, then retry the job."
        )
    return CrashedError(
        f"{type(error).__name__}: {error}"[:2000], hint="The full trace is in the job's process.log."
    )


def _end_with_parent() -> None:
    """Ends this process when its parent does: the parent holds the other end of our standard input."""
    if sys.platform == "linux" and not sys.stdin.isatty():
        # The pipe tells a process that runs; this reaches also one that is stopped or in a long call.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    descriptor = sys.stdin.fileno()

    def watch() -> None:
        with contextlib.suppress(OSError, ValueError):
            # Unbuffered: a thread that waits in sys.stdin.buffer aborts the interpreter when it ends.
            while os.read(descriptor, 4096):
                pass
        os._exit(ExitCode.ORPHANED)

    if not sys.stdin.isatty():
        threading.Thread(target=watch, name="parent-watch", daemon=True).start()
