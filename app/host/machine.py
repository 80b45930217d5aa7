"""What this machine has to compute with: cores, memory, and GPUs."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict, dataclass
from math import ceil
from pathlib import Path
from typing import Any

import psutil

from app.host.gpus import Gpu, find_gpus

# What a container may use; absent or "max" where there is no limit. Control groups v2, then v1.
MEMORY_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
CPU_QUOTAS = (
    (Path("/sys/fs/cgroup/cpu.max"), None),
    (Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")),
)
"""Time on all cores together in each period: in one file, or in two."""


@dataclass(frozen=True)
class Machine:
    """What a process here may use: cores and memory up to the container's limits, visible GPUs."""

    cpu_cores: int
    memory_bytes: int
    gpus: tuple[Gpu, ...]

    @classmethod
    def of_this_process(cls, gpus: tuple[Gpu, ...] | None = None) -> Machine:
        """With the GPUs given, or all that it sees; the driver may take seconds to tell them."""
        return cls(count_cores(), _memory_bytes(), find_gpus() if gpus is None else gpus)

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "gpus": [{**asdict(gpu), "key": gpu.key} for gpu in self.gpus]}


def count_cores() -> int:
    """Cores that this process may use, by its affinity and by its container's share of time, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for quota, period in CPU_QUOTAS:
        with contextlib.suppress(OSError, ValueError):
            words = quota.read_text(encoding="ascii").split()
            words += [] if period is None else period.read_text(encoding="ascii").split()
            allowed, of = int(words[0]), int(words[1])  # "max" and -1 mean that there is no limit
            if allowed > 0:
                cores = min(cores, ceil(allowed / of))
    return cores


def peak_memory() -> int | None:
    """The most memory in bytes that this process has held so far; None outside Linux.

    Not ``ru_maxrss``, which begins with what the parent held when it started this process.
    """
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def _memory_bytes() -> int:
    total = int(psutil.virtual_memory().total)
    for limit in MEMORY_LIMITS:
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(limit.read_text(encoding="ascii")))
    return total
