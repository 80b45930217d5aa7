"""Moving images into a folder per label: nothing is overwritten, and a kill at any point loses nothing.

On one file system a move is one step. Across file systems the copy has its name before the original goes;
whoever is killed in between finds both, and takes off the original.
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import stat
from itertools import count
from pathlib import Path

from app.cli.watched_folder import ChangedError, Version
from app.datasets.names import safe_part
from app.host import failpoints
from app.host.files import make_folder, sync
from app.host.renames import rename_exclusively

LONGEST_NAME = 255
_COARSEST_TIME_NS = 2 * 10**9
"""FAT counts time in steps of two seconds."""


class LabelFolders:
    """Folders below ``root``, made when they are needed. Raises OSError."""

    def __init__(self, root: Path) -> None:
        make_folder(root)
        self._root = root
        self._last_numbers: dict[Path, int] = {}

    def move(self, version: Version, label: str, *, is_resumed: bool) -> Path:
        """Where the image lies now. ``is_resumed``: an earlier attempt may have copied it already.

        Raises ChangedError if the file is no longer that version, OSError.
        """
        version.require_unchanged()
        folder = self._root / folder_name(label)
        # Not its parents: where a share is no longer mounted, its place on this disk would be filled.
        folder.mkdir(exist_ok=True)
        if folder.is_symlink():
            raise OSError(errno.ELOOP, "the label's folder is a link, which is not followed", str(folder))
        try:
            return self._rename(version, folder)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
        return self._copy(version, folder, is_resumed)

    def _rename(self, version: Version, folder: Path) -> Path:
        target = self._put(version.path, folder, version.path.name)
        try:
            version.require_same(target.lstat())
        except ChangedError:
            # Another image took the file's place at the last moment: it has no answer yet.
            rename_exclusively(target, version.path)
            raise
        return target

    def _copy(self, version: Version, folder: Path, is_resumed: bool) -> Path:
        target = _find_copy(version, folder) if is_resumed else None
        if target is None:
            aside = folder / f".{version.key}.part"
            aside.unlink(missing_ok=True)  # left by a process that was killed
            try:
                _copy_content(version, aside)
                failpoints.pass_by("watch.copied")
                target = self._put(aside, folder, version.path.name)
                sync(folder)
            finally:
                aside.unlink(missing_ok=True)
            failpoints.pass_by("watch.placed")
        version.require_unchanged()
        version.path.unlink()
        return target

    def _put(self, source: Path, folder: Path, name: str) -> Path:
        """Renames to the first free name in a folder of the same file system."""
        number = self._last_numbers.get(folder / name, 1)
        while True:
            target = folder / numbered(name, number)
            try:
                rename_exclusively(source, target)
            except FileExistsError:
                number += 1
                continue
            self._last_numbers[folder / name] = number
            return target


def folder_name(label: str) -> str:
    """The label as one part of a path: what could lead elsewhere, or hide the folder, is written as %XX."""
    name = "%2F".join(map(safe_part, label.split("/")))
    return f"%2E{name[1:]}" if name.startswith(".") else name or "%"


def numbered(name: str, number: int) -> str:
    """``part.png``, ``part-2.png``, ``part-3.png``; a long stem is cut."""
    if number == 1:
        return name
    path = Path(name)
    ending = os.fsencode(f"-{number}{path.suffix}")
    return os.fsdecode(os.fsencode(path.stem)[: LONGEST_NAME - len(ending)] + ending)


def _copy_content(version: Version, aside: Path) -> None:
    source = os.open(version.path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(source, "rb") as reading, aside.open("xb") as writing:
        shutil.copyfileobj(reading, writing, 2**20)
    shutil.copystat(version.path, aside, follow_symlinks=False)
    version.require_unchanged()
    sync(aside)


def _find_copy(version: Version, folder: Path) -> Path | None:
    """What an earlier attempt has copied: the image's bytes and times under one of its names."""
    for number in count(1):
        target = folder / numbered(version.path.name, number)
        try:
            there = target.lstat()
        except FileNotFoundError:
            return None
        is_alike = (
            stat.S_ISREG(there.st_mode)
            and there.st_size == version.size
            and abs(there.st_mtime_ns - version.modified_ns) <= _COARSEST_TIME_NS
        )
        if is_alike and filecmp.cmp(version.path, target, shallow=False):
            return target
    raise AssertionError("numbers have no end")
