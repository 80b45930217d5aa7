"""Renaming a file to a name that nothing has, in one step."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path

_AT_FDCWD, _RENAME_NOREPLACE = -100, 1
_NOT_SUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP})


def rename_exclusively(source: Path, target: Path) -> None:
    """Raises FileExistsError where something has the name, OSError (EXDEV: another file system)."""
    number = _rename_exclusively(source, target)
    if number in _NOT_SUPPORTED:
        _rename_over_empty(source, target)
    elif number:
        raise OSError(number, os.strerror(number), str(source), None, str(target))


def _rename_exclusively(source: Path, target: Path) -> int:
    """The number of the error; 0 where there was none."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        return errno.ENOSYS
    paths = os.fsencode(source), os.fsencode(target)
    failed = rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], ctypes.c_uint(_RENAME_NOREPLACE))
    return ctypes.get_errno() if failed else 0


def _rename_over_empty(source: Path, target: Path) -> None:
    """For what has no such call, as NFS. A kill between the two steps leaves an empty file."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    try:
        source.rename(target)
    except OSError:
        target.unlink()
        raise
