"""Python loads this at the start of every process of a service: it notes what each fsync makes safe.

A file keeps the content of its last fsync, a folder the names of its own; all else a loss of power may take.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PLATTER, HOME = Path(os.environ["CHAOS_PLATTER"]), Path(os.environ["CHAOS_HOME"])
_fsync, _sync, _mkdir = os.fsync, os.sync, os.mkdir


def _note(path: Path) -> None:
    """What lies at ``path`` now is on the platter from now on."""
    if path.is_dir():
        key = f"{_folder_id(path)}.names"
        data = json.dumps(dict(_names(path))).encode()
    elif path.is_file():
        key, data = _key(path), path.read_bytes()
    else:
        return
    aside = PLATTER / f"{os.getpid()}-{os.urandom(8).hex()}.part"
    aside.write_bytes(data)
    aside.rename(PLATTER / key)


def _names(folder: Path) -> Iterator[tuple[str, str]]:
    for entry in folder.iterdir():
        # Another process may take it away meanwhile.
        with contextlib.suppress(FileNotFoundError):
            if entry.is_dir() or entry.is_file():
                yield entry.name, _key(entry)


def _key(path: Path) -> str:
    """Under which the content of a file, or the names of a folder, are noted."""
    if path.is_dir():
        return f"{_folder_id(path)}.names"
    inode = path.lstat().st_ino
    # Holds the inode: as long as the name may come back, no other file is given its number.
    with contextlib.suppress(FileExistsError, FileNotFoundError):
        (PLATTER / f"{inode}.pin").hardlink_to(path)
    return f"{inode}.content"


def _folder_id(path: Path) -> str:
    """A folder may have the number of one that is gone, so it is given a name of its own when it is made."""
    note = PLATTER / f"{path.stat().st_ino}.id"
    return note.read_text() if note.exists() else str(path.stat().st_ino)


def fsync(fd: Any) -> None:
    _fsync(fd)
    path = Path(f"/proc/self/fd/{fd if isinstance(fd, int) else fd.fileno()}").readlink()
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
    _mkdir(path, *arguments, **more)
    folder = Path(os.fsdecode(path)).absolute()
    if folder.is_relative_to(HOME):
        (PLATTER / f"{folder.stat().st_ino}.id").write_text(os.urandom(8).hex())


os.fsync, os.sync, os.mkdir = fsync, sync, mkdir
