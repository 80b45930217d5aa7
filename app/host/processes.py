"""Who holds a lease: a name for this process that another one on the same machine can check for life."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

import psutil


def process_owner() -> str:
    """``host|boot|pid|start``: unique over restarts of the process and of the machine."""
    return f"{_machine()}|{os.getpid()}|{_started(os.getpid())}"


def is_gone(owner: str) -> bool:
    """True only where it is certain: the owner lived on this machine and its process has ended."""
    machine, _, process = owner.partition("|pid|")
    pid, started = [*process.split("|"), ""][:2]
    if machine != _machine().removesuffix("|pid") or not pid.isdigit():
        return False
    return _started(int(pid)) != started


def _started(pid: int) -> str:
    """When a living process began, in a form to compare; empty for one that has ended, zombies included."""
    stat = Path(f"/proc/{pid}/stat")
    if stat.parent.parent.joinpath("self").exists():
        # Ticks since boot: unlike a time of day they stay the same when somebody sets the clock.
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            state, *fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            return "" if state in "ZX" else fields[18]
        return ""
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        return "" if process.status() == psutil.STATUS_ZOMBIE else f"{process.create_time():.0f}"
    return ""


def _machine() -> str:
    # The boot id tells apart a machine before and after a restart; the PID namespace two containers on one.
    boot = Path("/proc/sys/kernel/random/boot_id")
    boot_id = boot.read_text(encoding="ascii").strip() if boot.exists() else f"{psutil.boot_time():.0f}"
    namespace = Path("/proc/self/ns/pid")
    where = str(namespace.readlink()) if namespace.is_symlink() else ""
    return f"{socket.gethostname()}|{boot_id}|{where}|pid"
