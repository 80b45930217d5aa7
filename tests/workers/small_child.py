"""A child that does what its spec says, act by act: ``python -m tests.workers.small_child FOLDER``."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from app.child import RESULT, Released, Reporter, StopSignal, run_child
from app.errors import TrainingError
from app.schemas.message import Message
from app.schemas.progress_lines import CheckpointLine, StepLine, WarningLine


class SmallSpec(Message):
    acts: tuple[str, ...]


class SmallResult(Message):
    finishes: int
    """How often it was asked to end early."""


class _Asked:
    """Counts what it is asked, where the real ``StopSignal`` only notes it."""

    def __init__(self, before: StopSignal) -> None:
        self.releases = self.finishes = 0
        signal.signal(signal.SIGTERM, self._release)
        signal.signal(signal.SIGUSR1, self._finish)
        self.releases += before.release
        self.finishes += before.finish

    def _release(self, *_: Any) -> None:
        self.releases += 1

    def _finish(self, *_: Any) -> None:
        self.finishes += 1


def _work(spec: SmallSpec, folder: Path, reporter: Reporter, stop: StopSignal) -> SmallResult:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    asked = _Asked(stop)
    for act in spec.acts:
        _do(folder, reporter, asked, *act.split())
    return SmallResult(finishes=asked.finishes)


def _do(folder: Path, reporter: Reporter, asked: _Asked, act: str, argument: str = "") -> None:
    match act:
        case "say":
            reporter.emit(WarningLine(message=argument))
        case "environment":
            reporter.emit(WarningLine(message=os.environ.get(argument, "not there")))
        case "step":
            # By the times in them, steps are a second apart.
            number = int(argument)
            reporter.emit(
                StepLine(time=float(number), step=number, epoch=1, loss=1.0, accuracy=0.5, learning_rate=0.01)
            )
        case "checkpoint":
            reporter.emit(CheckpointLine(step=1, epoch=1, folder=argument, digest="d"))
        case "sleep":
            time.sleep(float(argument))
        case "hang":
            while True:
                threading.Event().wait(1)
        case "leave":  # as a training does: asked to, it saves its state, then leaves
            while not asked.releases:
                time.sleep(0.02)
            time.sleep(0.5)
            reporter.emit(WarningLine(message=f"asked-{asked.releases}"))
            raise Released
        case "finish":  # and long enough after it to notice that it is asked again
            while not asked.finishes:
                time.sleep(0.02)
            time.sleep(0.5)
        case "start":
            started = subprocess.Popen(["sleep", "60"], stdin=subprocess.DEVNULL)
            reporter.emit(WarningLine(message=str(started.pid)))
        case "fail":
            raise TrainingError("The loss is purple.", hint="Mix in some yellow.")
        case "raise":
            raise RuntimeError("odd")
        case "fill":
            raise OSError(errno.ENOSPC, "No space left on device")
        case "exit":
            os._exit(int(argument))
        case "signal":
            os.kill(os.getpid(), int(argument))
        case "scribble":
            (folder / RESULT).write_text('{"finishes": "many"}')
            os._exit(0)
        case _:
            raise ValueError(f"small_child has no act {act!r}")


if __name__ == "__main__":
    sys.exit(run_child(_work, SmallSpec, Path(sys.argv[1])))
