"""Who holds a lease: a name for this process that another one on the same machine can check for life."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import psutil


def process_owner() -> str:
    """``host|boot|pid|start``: unique over restarts of the process and of the machine."""
    return f"{_machine()}|{os.getpid()}|{psutil.Process().create_time():.2f}"


def is_gone(owner: str) -> bool:
    """True only where it is certain: the owner lived on this machine and its process has ended."""
    machine, _, process = owner.partition("|pid|")
    pid, _, started = process.partition("|")
    if machine != _machine().removesuffix("|pid") or not pid.isdigit():
        return False
    try:
        return bool(abs(psutil.Process(int(pid)).create_time() - float(started)) > 1)
    except psutil.NoSuchProcess:
        return True


def _machine() -> str:
    # The boot id tells apart a machine before and after a restart; the PID namespace two containers on one.
    boot = Path("/proc/sys/kernel/random/boot_id")
    boot_id = boot.read_text(encoding="ascii").strip() if boot.exists() else f"{psutil.boot_time():.0f}"
    namespace = Path("/proc/self/ns/pid")
    where = str(namespace.readlink()) if namespace.is_symlink() else ""
    return f"{socket.gethostname()}|{boot_id}|{where}|pid"
