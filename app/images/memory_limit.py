"""What this process may allocate."""

from __future__ import annotations

import resource
from pathlib import Path


def limit_memory(more: int | None) -> None:
    """Lets the process allocate this many bytes beyond what it has; None: any. A MemoryError is raised then.

    Where the machine does not say what a process has (outside Linux), nothing is limited.
    """
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    soft = resource.RLIM_INFINITY
    if more is not None:
        soft = int(statm.read_bytes().split()[5]) * resource.getpagesize() + more
    if hard != resource.RLIM_INFINITY:
        soft = hard if soft == resource.RLIM_INFINITY else min(soft, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
