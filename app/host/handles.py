"""Opening what lies at a path part by part, so that no link is followed, whatever is exchanged meanwhile."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

# A folder on the way need not be readable, where the system can open it only to pass through.
_ON_THE_WAY = os.O_DIRECTORY | os.O_NOFOLLOW | getattr(os, "O_PATH", os.O_RDONLY)
PLACE = _ON_THE_WAY
"""A folder to look up names in, not to list."""
FOLDER = os.O_RDONLY | os.O_DIRECTORY
FILE = os.O_RDONLY | os.O_NONBLOCK
"""A pipe that took the place of a file is not waited for."""


def open_without_links(path: Path, flags: int) -> int:
    """Opens an absolute path none of whose parts is a link. Raises OSError."""
    top = os.open(path.anchor, _ON_THE_WAY)
    try:
        return open_below(top, path.parts[1:], flags)
    finally:
        os.close(top)


def open_below(folder: int, parts: Sequence[str], flags: int) -> int:
    """Opens what ``parts`` lead to from the opened ``folder``; no part may be a link. Raises OSError."""
    here = os.open(".", _ON_THE_WAY, dir_fd=folder)
    try:
        for part in parts[:-1]:
            here, above = os.open(part, _ON_THE_WAY, dir_fd=here), here
            os.close(above)
        return os.open(parts[-1] if parts else ".", flags | os.O_NOFOLLOW, dir_fd=here)
    finally:
        os.close(here)
