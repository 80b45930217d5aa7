"""An upload as a series of files with checked names, whatever it came in: the part that all kinds share.

Nothing is ever written under a name from outside. Every error names the entry, what is wrong and what to do.
"""

from __future__ import annotations

import re
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar

from app.errors import ArchiveError, DatasetError, UnsafeArchiveError

_DRIVE = re.compile(r"^[A-Za-z]:/")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
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


@dataclass(frozen=True)
class SourceFile:
    """A file of an upload. ``name``: its checked path, with ``/`` between folders.

    ``read`` returns its bytes; call it before asking for the next file. It raises DamagedEntryError where
    only this file is lost.
    """

    name: str
    read: Callable[[], bytes]


class Source(ABC):
    """An upload being read; a context manager.

    ``folders`` (paths) and ``skipped`` (name → reason) are complete once ``files`` was walked to its end.
    ``name_encoding``: what names that declare no encoding were read in, with the reason; None if all do.
    """

    unreadable: ClassVar[type[DatasetError]] = ArchiveError
    unsafe: ClassVar[type[DatasetError]] = UnsafeArchiveError
    kind: ClassVar[str] = "archive"

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.folders: set[str] = set()
        self.skipped: dict[str, str] = {}
        self.name_encoding: str | None = None
        self.encoding_reason: str | None = None
        self._entries = 0
        self._names: dict[str, str] = {}

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
        """The name to know an entry by: ``/`` between folders, no empty parts, composed Unicode (NFC)."""
        self._entries += 1
        if self._entries > self.limits.max_entries:
            raise self.unsafe(
                f"the {self.kind} has more than {self.limits.max_entries:,} entries",
                hint="Divide the dataset, or raise the limit in the server's settings.",
            )
        try:
            length = len(raw.encode())
        except UnicodeEncodeError as error:
            raise self.unreadable(
                f"the name of entry {show(raw)} is not valid UTF-8",
                hint="Rename the file, or pack the folder again with UTF-8 names.",
            ) from error
        if length > self.limits.max_name_bytes:
            raise self.unsafe(
                f"entry {show(raw)} has a name of {length} bytes, the limit is {self.limits.max_name_bytes}",
                hint="Give the file a shorter name and pack the folder again.",
            )
        path = unicodedata.normalize("NFC", raw.replace("\\", "/"))
        if _CONTROL.search(path):
            raise self.unsafe(
                f"the name of entry {show(raw)} has control characters", hint="Rename the file."
            )
        if path.startswith("/") or _DRIVE.match(path):
            raise self.unsafe(
                f"entry {show(raw)} has an absolute path", hint="Pack the folder with relative paths."
            )
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise self.unsafe(
                f"entry {show(raw)} points outside the {self.kind} with '..'",
                hint="Pack the folder without it.",
            )
        return "/".join(parts)

    def admit(self, name: str) -> bool:
        """Whether to read the file with this checked name; a system file is noted as skipped."""
        for part in name.split("/"):
            if part.startswith(".") or part.casefold() in _SYSTEM_NAMES:
                self.skipped[name] = "hidden or system file"
                return False
        key = name.casefold()
        if key in self._names:
            other = self._names[key]
            if other == name:
                raise self.unsafe(
                    f"entry {show(name)} is there twice",
                    hint="Pack the folder again, so that each file is there once.",
                )
            raise self.unsafe(
                f"entries {show(other)} and {show(name)} differ only by upper and lower case",
                hint="Rename one of them; many systems cannot keep both.",
            )
        self._names[key] = name
        return True

    def note_folder(self, name: str) -> None:
        """Remembers a folder, so that an empty class can be reported."""
        if name and not any(
            part.startswith(".") or part.casefold() in _SYSTEM_NAMES for part in name.split("/")
        ):
            self.folders.add(name)

    def is_too_large(self, name: str, size: int) -> bool:
        """Whether a file is over the limit for one file; it is then noted as skipped."""
        if size <= self.limits.max_file_bytes:
            return False
        self.skipped[name] = f"{size:,} bytes, the limit for one file is {self.limits.max_file_bytes:,}"
        return True


def show(name: str) -> str:
    """A name from outside, fit for a message: quoted, escaped and short."""
    text = ascii(name) if any(not character.isprintable() for character in name) else f"'{name}'"
    return text if len(text) <= 120 else f"{text[:100]}…"
