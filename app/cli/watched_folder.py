"""A folder that others write images to: which of its files are whole, by looking again and again.

It is polled, because a network share sends no events for what other machines write, and because events do not
say that a file is whole.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from app.cli.client import CommandError
from app.cli.packing import MAX_FILE_BYTES, display_name, is_hidden
from app.images.formats import FIRST_BYTES, format_of_name, looks_like_image

# How programs call a file that they have not finished; they rename it when it is whole.
_UNFINISHED = (".part", ".partial", ".filepart", ".tmp", ".temp", ".crdownload", ".download", "~")


class ChangedError(Exception):
    """The file is no longer the one that was looked at, or gone."""


@dataclass(frozen=True)
class Version:
    """A file as it was when it was looked at. Another size or time of change makes another image of it."""

    path: Path
    name: str
    """Below the folder; bytes that are no UTF-8 as Python keeps them."""
    size: int
    modified_ns: int

    @cached_property
    def key(self) -> str:
        """The same in every run, and for no other image."""
        facts = os.fsencode(self.name) + f"\0{self.size}\0{self.modified_ns}".encode()
        return f"img_{hashlib.sha256(facts).hexdigest()[:24]}"

    def read(self) -> bytes:
        """The content. Raises ChangedError if it is no longer this version's, CommandError, OSError."""
        # No link that took the file's place since is followed, and no pipe is waited for.
        descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            self.require_same(os.fstat(descriptor))
            if self.size > MAX_FILE_BYTES:
                raise CommandError(
                    f"{self.size / 2**20:,.0f} MiB, the limit for one file is {MAX_FILE_BYTES // 2**20} MiB"
                )
            content = file.read()
            self.require_same(os.fstat(descriptor))
        return content

    def require_unchanged(self) -> None:
        """Raises ChangedError unless the file is there as it was, OSError."""
        try:
            self.require_same(self.path.lstat())
        except FileNotFoundError as error:
            raise ChangedError from error

    def require_same(self, status: os.stat_result) -> None:
        is_same = (status.st_size, status.st_mtime_ns) == (self.size, self.modified_ns)
        if not (is_same and stat.S_ISREG(status.st_mode)):
            raise ChangedError


@dataclass
class Look:
    """What a look found. ``left_out``: why → names that were not left out before."""

    whole: list[Version] = field(default_factory=list)
    unfinished: int = 0
    seconds: float = 0.0
    left_out: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class _Seen:
    version: Version
    since: float
    is_image: bool | None = None


class WatchedFolder:
    """``settle_seconds``: a file whose size and time of change stay the same for so long is whole.

    ``excluded``: files and folders in it that are none of the input. Links are not followed.
    """

    def __init__(
        self, folder: Path, *, is_recursive: bool, settle_seconds: float, excluded: frozenset[Path]
    ) -> None:
        self.folder, self._is_recursive, self._excluded = folder, is_recursive, excluded
        self._settle_seconds = settle_seconds
        self._seen: dict[str, _Seen] = {}
        self._left_out: set[str] = set()

    def look(self) -> Look:
        """The whole images, the oldest first. Raises OSError if the folder itself cannot be read."""
        now, seen, look = time.monotonic(), dict[str, _Seen](), Look()
        for version in self._versions(look):
            before = self._seen.get(version.name)
            if before is None or before.version != version:
                before = _Seen(version, now)
            seen[version.name] = before
            if now - before.since < self._settle_seconds:
                look.unfinished += 1
            elif self._is_image(before):
                look.whole.append(before.version)
            else:
                self._leave_out(look, "no image", version.name)
        self._seen = seen
        look.whole.sort(key=lambda version: (version.modified_ns, version.name))
        look.seconds = time.monotonic() - now
        return look

    def _versions(self, look: Look) -> Iterator[Version]:
        folders = [("", self.folder)]
        while folders:
            prefix, folder = folders.pop()
            try:
                entries = os.scandir(folder)
            except OSError as error:
                if not prefix:
                    raise
                if not isinstance(error, FileNotFoundError):
                    self._leave_out(look, error.strerror or str(error), prefix)
                continue
            with entries:
                for entry in entries:
                    path, name = Path(entry.path), prefix + entry.name
                    if is_hidden(entry.name) or path in self._excluded or _is_unfinished(entry.name):
                        continue
                    if entry.is_symlink():
                        self._leave_out(look, "a link", name)
                    elif entry.is_dir(follow_symlinks=False):
                        if self._is_recursive:
                            folders.append((f"{name}/", path))
                    elif (status := _status(entry)) is None:
                        continue  # gone, or being renamed
                    elif stat.S_ISREG(status.st_mode):
                        yield Version(path, name, status.st_size, status.st_mtime_ns)
                    else:
                        self._leave_out(look, "not a regular file", name)

    def _leave_out(self, look: Look, reason: str, name: str) -> None:
        if name not in self._left_out:
            self._left_out.add(name)
            look.left_out.setdefault(reason, []).append(display_name(Path(name)))

    @staticmethod
    def _is_image(seen: _Seen) -> bool:
        if seen.is_image is None:
            seen.is_image = format_of_name(seen.version.name) is not None or _begins_as_image(seen.version)
        return seen.is_image


def _begins_as_image(version: Version) -> bool:
    try:
        descriptor = os.open(version.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return True  # what it is cannot be known: reading it as an image says why
    with os.fdopen(descriptor, "rb") as file:
        return looks_like_image(file.read(FIRST_BYTES))


def _is_unfinished(name: str) -> bool:
    return name.casefold().endswith(_UNFINISHED)


def _status(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None
