"""Python loads this at the start of every process of a service: it notes what each fsync makes safe.

A file keeps the content of its last fsync, a folder the names of its own; all else a loss of power may take.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

PLATTER, HOME = Path(os.environ["CHAOS_PLATTER"]), Path(os.environ["CHAOS_HOME"])
_fsync, _sync, _mkdir = os.fsync, os.sync, os.mkdir


def _note(path: Path) -> None:
    """What lies at ``path`` now is on the platter from now on."""
    inode = path.stat().st_ino
    if path.is_dir():
        kept = [entry for entry in os.scandir(path) if entry.is_dir() or entry.is_file()]
        data = json.dumps({entry.name: [entry.inode(), entry.is_dir()] for entry in kept}).encode()
    elif path.is_file():
        data = path.read_bytes()
        # Holds the inode, so that no other file is given its number.
        if not (pin := PLATTER / f"{inode}.pin").exists():
            pin.hardlink_to(path)
    else:
        return
    aside = PLATTER / f"{inode}.{os.getpid()}.{os.urandom(4).hex()}.part"
    aside.write_bytes(data)
    aside.rename(PLATTER / str(inode))


def fsync(file: Any) -> None:
    _fsync(file)
    path = Path(f"/proc/self/fd/{file if isinstance(file, int) else file.fileno()}").readlink()
    if path.is_relative_to(HOME) and path.exists():
        _note(path)


def sync() -> None:
    _sync()
    for path in (HOME, *HOME.rglob("*")):
        try:
            _note(path)
        except FileNotFoundError:
            continue


def mkdir(path: Any, *arguments: Any, **more: Any) -> None:
    """A folder may get the number of one that is gone; it has not its names."""
    _mkdir(path, *arguments, **more)
    folder = Path(os.fsdecode(path)).absolute()
    if folder.is_relative_to(HOME):
        (PLATTER / str(folder.stat().st_ino)).unlink(missing_ok=True)


os.fsync, os.sync, os.mkdir = fsync, sync, mkdir
