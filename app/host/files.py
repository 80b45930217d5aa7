"""Files and folders that outlive a loss of power: a name is safe once the folder that has it is synced."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from app.errors import is_disk_full


def sync(path: Path) -> None:
    """Flushes a file's content, or a folder's names, to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(folder: Path) -> None:
    """Flushes every file and folder below ``folder``, and itself, but not its own name."""
    for directory, _, files in os.walk(folder):
        for name in files:
            sync(Path(directory) / name)
        sync(Path(directory))


def make_folder(folder: Path) -> None:
    """Makes ``folder`` and its missing parents, names and all, unless they are there. Raises OSError."""
    parents: list[Path] = []
    for parent in folder.parents:
        parents.append(parent)
        if parent.exists():
            break
    folder.mkdir(parents=True, exist_ok=True)
    for parent in reversed(parents):
        # What lies above the home folder may not be ours to read.
        with contextlib.suppress(PermissionError):
            sync(parent)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """A second name for the same bytes where the file system can; for files that never change.

    Raises OSError. A target that is there already stays.
    """
    with contextlib.suppress(FileExistsError):
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise
        except OSError as error:
            if is_disk_full(error):
                raise
            shutil.copyfile(source, target)


def move(source: Path, target: Path) -> None:
    """Renames ``source``, whose content is synced, to ``target`` on the same file system. Raises OSError."""
    source.replace(target)
    sync(target.parent)
