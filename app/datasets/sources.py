"""An upload as a series of files with checked names, whatever it came in: the part that all kinds share.

Nothing is ever written under a name from outside. Every error names the entry, what is wrong and what to do.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from app.datasets.names import SHOWN, safe_part, show
from app.errors import ArchiveError, DatasetError, UnsafeArchiveError

HIDDEN = "hidden or system file"
"""Why a file is skipped that nobody packed on purpose."""
_DRIVE = re.compile(r"^[A-Za-z]:/")
_SYSTEM_NAMES = frozenset({"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir"})


@dataclass(frozen=True)
class Limits:
    """What an upload may hold.

    ``max_ratio``: unpacked bytes for each byte of the archive, once there are more than ``ratio_from_bytes``.
    """

    max_entries: int = 200_000
    max_name_bytes: int = 1024
    max_file_bytes: int = 128 * 2**20
    max_total_bytes: int = 200 * 2**30
    max_ratio: float = 100.0
    ratio_from_bytes: int = 64 * 2**20  # blank scans shrink a thousandfold; a little of that is harmless


class DamagedEntryError(ArchiveError):
    """One file of an upload cannot be read; the others can."""


class LeftOut(NamedTuple):
    """A file that does not become an image of the dataset."""

    name: str
    reason: str


@dataclass(frozen=True)
class SourceFile:
    """A file of an upload. ``name``: its checked path, with ``/`` between folders. ``raw``: as it came.

    ``read`` returns its bytes; call it before asking for the next file. It raises DamagedEntryError where
    only this file is lost.
    """

    name: str
    read: Callable[[], bytes]
    raw: str


class Source(ABC):
    """An upload being read; a context manager.

    ``folders`` (paths) and ``skipped`` are complete once ``files`` was walked to its end.
    ``name_encoding``: what names that declare no encoding were read in, with the reason; None if all do.
    """

    unreadable: ClassVar[type[DatasetError]] = ArchiveError
    unsafe: ClassVar[type[DatasetError]] = UnsafeArchiveError
    kind: ClassVar[str] = "archive"

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.folders: set[str] = set()
        self.skipped: list[LeftOut] = []
        self.name_encoding: str | None = None
        self.encoding_reason: str | None = None
        self._entries = 0

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @abstractmethod
    def files(self) -> Iterator[SourceFile]:
        """The files in the order they are stored; ArchiveError or UnsafeArchiveError end the walk."""

    @abstractmethod
    def progress(self) -> float:
        """How much has been read, from 0 to 1."""

    @abstractmethod
    def close(self) -> None:
        """Closes what was opened."""

    def check_name(self, raw: str) -> str:
        """The name to know an entry by: ``/`` between folders, no empty parts, safe to store and to show.

        Refuses the upload for a name that could do harm. Names are not yet told apart: see ``names.py``.
        """
        self._entries += 1
        if self._entries > self.limits.max_entries:
            raise self.unsafe(
                f"the {self.kind} has more than {self.limits.max_entries:,} entries",
                hint="Divide the dataset, or raise the limit in the server's settings.",
            )
        path = raw.replace("\\", "/")  # as Windows would take it: what could do harm there is refused too
        if path.startswith("/") or _DRIVE.match(path):
            raise self.unsafe(
                f"entry {show(raw)} has an absolute path", hint="Pack the folder with relative paths."
            )
        if ".." in path.split("/"):
            raise self.unsafe(
                f"entry {show(raw)} points outside the {self.kind} with '..'",
                hint="Pack the folder without it.",
            )
        if self.is_too_long(raw):
            return "/".join(map(safe_part, raw[:SHOWN].split("/"))) + "…"
        return "/".join(safe_part(part) for part in raw.split("/") if part not in ("", "."))

    def admit(self, name: str, raw: str) -> bool:
        """Whether to read the file with this checked name; what is not read is noted as skipped."""
        if _is_hidden(name):
            self.skip(name, HIDDEN)
        elif self.is_too_long(raw):
            length, most = _length(raw), self.limits.max_name_bytes
            self.skip(name, f"its name has {length:,} bytes, the limit is {most:,}")
        else:
            return True
        return False

    def skip(self, name: str, reason: str) -> None:
        """Notes a file that is left out; each counts, also where several have one name."""
        self.skipped.append(LeftOut(name, reason))

    def note_folder(self, name: str) -> None:
        """Remembers a folder, so that an empty class can be reported."""
        if name and not _is_hidden(name) and not name.endswith("…"):
            self.folders.add(name)

    def is_too_large(self, name: str, size: int) -> bool:
        """Whether a file is over the limit for one file; it is then noted as skipped."""
        if size <= self.limits.max_file_bytes:
            return False
        self.skip(name, f"{size:,} bytes, the limit for one file is {self.limits.max_file_bytes:,}")
        return True

    def is_too_long(self, raw: str) -> bool:
        """Whether a name is over the limit; a folder with such a name is not walked."""
        return _length(raw) > self.limits.max_name_bytes


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") or part.casefold() in _SYSTEM_NAMES for part in name.split("/"))


def _length(raw: str) -> int:
    return len(raw.encode("utf-8", "surrogatepass"))
