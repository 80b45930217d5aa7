"""Folders that datasets may be imported from by path: looked at when asked and when read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from app.datasets.names import show
from app.errors import DatasetError
from app.host.handles import FILE, FOLDER, PLACE, open_without_links

_OPENED = Path("/proc/self/fd")
_AGAIN = "Import it again by its real path: it is gone, or it or a folder above it has become a link."


def is_below(path: Path, roots: Sequence[Path]) -> bool:
    """Whether a path without links lies in one of ``roots`` or is one."""
    return any(path.is_relative_to(root) for root in roots)


@contextmanager
def held(path: Path, roots: Sequence[Path]) -> Iterator[Path]:
    """A path to what lies at ``path`` now, which stays that when another thing takes its place.

    The path had no link when it was asked for. Raises DatasetError where it has one, or lies outside of
    ``roots``, if there are any, or leads to neither a file nor a folder.
    """
    if roots and not is_below(path, roots):
        raise DatasetError(
            f"{show(str(path))} is not under a folder that datasets may come from",
            hint="The worker's LOUPE_DATASET_ROOTS differ from those with which the import was accepted.",
        )
    kind = stat.S_IFMT(_state(path).st_mode)
    if kind not in (stat.S_IFDIR, stat.S_IFREG):
        what = "has become a link" if kind == stat.S_IFLNK else "is neither a file nor a folder"
        raise DatasetError(f"{show(str(path))} {what}", hint=_AGAIN)
    opened = _open(path, FOLDER if kind == stat.S_IFDIR else FILE)
    try:
        yield _OPENED / str(opened) if _OPENED.is_dir() else path
    finally:
        os.close(opened)


def _state(path: Path) -> os.stat_result:
    """Without opening it: it may be a pipe or a device."""
    place = _open(path.parent, PLACE)
    try:
        return os.stat(path.name or ".", dir_fd=place, follow_symlinks=False)
    except OSError as error:
        raise _gone(path, error) from error
    finally:
        os.close(place)


def _open(path: Path, flags: int) -> int:
    try:
        return open_without_links(path, flags)
    except OSError as error:
        raise _gone(path, error) from error


def _gone(path: Path, error: OSError) -> DatasetError:
    return DatasetError(f"{show(str(path))} cannot be opened: {error.strerror}", hint=_AGAIN)
