"""Why a child process ended: the name, the detail and the hint that its job's error gets."""

from __future__ import annotations

import contextlib
import signal
from pathlib import Path

import psutil

from app import child
from app.errors import CrashedError, LoupeError, OutOfMemoryError, StorageFullError, is_disk_full

FULL_HINT = "Free some space where LOUPE_HOME lives, then retry the job: it goes on from its checkpoint."
# Where the kernel counts the processes that it killed for memory: control groups v2 and v1, the machine.
OOM_COUNTERS = (
    Path("/sys/fs/cgroup/memory.events"),
    Path("/sys/fs/cgroup/memory/memory.oom_control"),
    Path("/proc/vmstat"),
)


class MemoryWatch:
    """What a process takes while it lives, and whether its end may have been for lack of memory."""

    def __init__(self) -> None:
        self._kills_before = _oom_kills()
        self.peak_bytes = 0

    def sample(self, pid: int) -> None:
        with contextlib.suppress(psutil.Error):
            self.peak_bytes = max(self.peak_bytes, psutil.Process(pid).memory_info().rss)

    def has_lacked(self) -> bool:
        """Whether the kernel has killed for memory since the start, or the process had taken nearly all."""
        return _oom_kills() > self._kills_before or self.peak_bytes > 0.8 * psutil.virtual_memory().total


def explain_exit(code: int, memory: MemoryWatch, log: str) -> LoupeError:
    """The error of a process that left none; ``code`` is its exit status or, negative, the signal."""
    seen = f"{memory.peak_bytes / 2**20:.0f} MiB"
    if code == child.ExitCode.DISK_FULL:
        return StorageFullError("The disk is full.", hint=FULL_HINT)
    if code >= 0:
        return CrashedError(f"The process ended with exit code {code}.", hint=f"See {log}.")
    if -code == signal.SIGKILL and memory.has_lacked():
        return OutOfMemoryError(
            f"The system ended the process for lack of memory; it used {seen} when last seen.",
            hint="Use a smaller batch_size or image_size, or a machine with more memory.",
        )
    name = signal.Signals(-code).name
    return CrashedError(
        f"The process was ended by {name}; it used {seen} when last seen.", hint=f"See {log}."
    )


def as_loupe_error(error: Exception) -> LoupeError:
    """The error of a job whose worker failed on it."""
    if is_disk_full(error):
        return StorageFullError(str(error), hint=FULL_HINT)
    return error if isinstance(error, LoupeError) else CrashedError(f"{type(error).__name__}: {error}")


def _oom_kills() -> int:
    """Processes that the kernel has killed for memory, as far as this machine shows."""
    kills = 0
    for counter in OOM_COUNTERS:
        with contextlib.suppress(OSError, ValueError):
            for line in counter.read_text(encoding="ascii").splitlines():
                name, _, count = line.partition(" ")
                kills += int(count) if name == "oom_kill" else 0
    return kills
