"""Files and folders that outlive a loss of power: a name is safe once the folder that has it is synced."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import is_disk_full


@dataclass(frozen=True)
class FileDigest:
    """Size in bytes and SHA-256 (hex) of one file."""

    bytes: int
    sha256: str


def describe(path: Path) -> FileDigest:
    """Size and SHA-256 of a file, in one reading. Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileDigest(file.tell(), digest)


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


def touch(path: Path) -> bool:
    """Marks a file as used now, so that it is not collected; False if there is none. Raises OSError."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True


def move(source: Path, target: Path) -> None:
    """Renames ``source``, whose content is synced, to ``target`` on the same file system. Raises OSError."""
    source.replace(target)
    sync(target.parent)


@contextlib.contextmanager
def write_aside(path: Path, *, is_shared: bool = False, is_durable: bool = True) -> Iterator[Path]:
    """Where to write a file that appears as ``path``, synced, at the end of a block that does not raise.

    ``is_shared``: other processes may write the same file at once. Without ``is_durable`` it is not synced.
    Raises OSError.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part" if is_shared else f".{path.name}.part")
    try:
        yield aside
        _appear(aside, path, is_durable)
    finally:
        aside.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Writes JSON: a reader sees the whole file or none. Raises OSError, ValueError for NaN."""
    with write_aside(path) as aside, aside.open("w", encoding="utf-8") as file:
        json.dump(value, file, allow_nan=False)


@contextlib.contextmanager
def folder_aside(target: Path, *, is_durable: bool = True) -> Iterator[Path]:
    """An empty folder that appears as ``target``, synced, at the end of a block that does not delete it.

    It is gone if the block raises. Without ``is_durable`` it is not synced. Raises OSError.
    """
    aside = target.with_name(f".{target.name}.part")
    shutil.rmtree(aside, ignore_errors=True)  # left by a process that was killed
    try:
        aside.mkdir(parents=True)
        yield aside
        if aside.exists():
            _appear(aside, target, is_durable)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _appear(aside: Path, target: Path, is_durable: bool) -> None:
    if not is_durable:
        aside.replace(target)
        return
    if aside.is_dir():
        sync_tree(aside)
    else:
        sync(aside)
    move(aside, target)
