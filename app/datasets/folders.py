"""Reads the files of a folder on this machine, by handles: nothing outside of it is ever opened."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from app.datasets.name_encodings import decode_names
from app.datasets.names import show
from app.datasets.sources import DamagedEntryError, Limits, Source, SourceFile
from app.errors import DatasetError
from app.host.handles import FILE, FOLDER, PLACE, open_below

Parts = tuple[str, ...]


class _Entry(NamedTuple):
    """``mode`` and ``size`` are a link's own."""

    parts: Parts
    mode: int
    size: int


class FolderSource(Source):
    """A folder. A link in it is followed to a file of the folder and nowhere else, and skipped otherwise."""

    unreadable = unsafe = DatasetError
    kind = "folder"

    def __init__(self, path: Path, limits: Limits, name_encoding: str | None = None) -> None:
        super().__init__(limits)
        self._path, self._name_encoding = Path(os.path.realpath(path)), name_encoding
        self._total, self._done = 1, 0
        try:
            self._folder = os.open(path, FOLDER)
        except OSError as error:
            raise _unreadable(str(path), error) from error

    def files(self) -> Iterator[SourceFile]:
        # One more than may be: checking its name refuses the folder.
        entries = list(islice(self._walk(), self.limits.max_entries + 1))
        names = [os.fsencode("/".join(entry.parts)) for entry in entries]
        read = decode_names(names, self._name_encoding, len(names))
        self.name_encoding, self.encoding_reason = read.encoding, read.reason
        found = sorted(self._admitted(zip(entries, read.names, strict=True)))
        self._total = max(1, len(found))
        for self._done, (name, parts, raw) in enumerate(found, start=1):
            yield SourceFile(name, partial(self._read, parts), raw)

    def progress(self) -> float:
        return self._done / self._total

    def close(self) -> None:
        os.close(self._folder)

    def _walk(self) -> Iterator[_Entry]:
        listings = [self._list(())]
        while listings:
            entry = next(listings[-1], None)
            if entry is None:
                listings.pop()
                continue
            yield entry
            if stat.S_ISDIR(entry.mode) and not self.is_too_long(_joined(entry.parts)):
                listings.append(self._list(entry.parts))

    def _list(self, parts: Parts) -> Iterator[_Entry]:
        try:
            opened = open_below(self._folder, parts, FOLDER)
            try:
                with os.scandir(opened) as found:
                    listed = sorted(islice(found, self.limits.max_entries + 1), key=lambda entry: entry.name)
                    states = [entry.stat(follow_symlinks=False) for entry in listed]
            finally:
                os.close(opened)
        except OSError as error:
            raise _unreadable(str(self._path.joinpath(*parts)), error) from error
        return iter(
            [
                _Entry((*parts, entry.name), state.st_mode, state.st_size)
                for entry, state in zip(listed, states, strict=True)
            ]
        )

    def _admitted(self, entries: Iterator[tuple[_Entry, str]]) -> Iterator[tuple[str, Parts, str]]:
        for entry, raw in entries:
            name = self.check_name(raw)
            if stat.S_ISDIR(entry.mode):
                self.note_folder(name)
                if self.is_too_long(raw):
                    self.admit(name, raw)  # notes it: what lies in it was not listed
            elif self.admit(name, raw):
                target = self._target(entry, name)
                if target is not None and not self.is_too_large(name, target.size):
                    yield name, target.parts, raw

    def _target(self, entry: _Entry, name: str) -> _Entry | None:
        """The file itself, or the one of the folder that a link leads to."""
        if stat.S_ISREG(entry.mode):
            return entry
        if not stat.S_ISLNK(entry.mode):
            self.skip(name, "not a regular file")
            return None
        path = Path(os.path.realpath(self._path.joinpath(*entry.parts)))
        if not path.is_relative_to(self._path):
            self.skip(name, "a link that leads out of the folder")
            return None
        parts = path.relative_to(self._path).parts
        state = self._state(parts)
        if state is None or not stat.S_ISREG(state.st_mode):
            self.skip(name, "a link to a folder or to nothing")
            return None
        return _Entry(parts, state.st_mode, state.st_size)

    def _state(self, parts: Parts) -> os.stat_result | None:
        try:
            folder = open_below(self._folder, parts[:-1], PLACE)
        except OSError:
            return None
        try:
            return os.stat(parts[-1] if parts else ".", dir_fd=folder, follow_symlinks=False)
        except OSError:
            return None
        finally:
            os.close(folder)

    def _read(self, parts: Parts) -> bytes:
        # It may have become a link or a pipe since it was listed; neither may be followed or waited for.
        try:
            descriptor = open_below(self._folder, parts, FILE)
        except OSError as error:
            raise DamagedEntryError(
                f"the file cannot be read: {error.strerror}", hint="Check its permissions."
            ) from error
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise DamagedEntryError("the file is no regular file any more", hint="Import again.")
            return file.read(self.limits.max_file_bytes)


def _joined(parts: Parts) -> str:
    return "/".join(parts)


def _unreadable(path: str, error: OSError) -> DatasetError:
    if isinstance(error, PermissionError):
        return DatasetError(
            f"the folder {show(path)} cannot be read: {error.strerror}",
            hint="Let the user that runs Loupe read it.",
        )
    return DatasetError(
        f"the folder {show(path)} cannot be opened: {error.strerror}",
        hint="It is gone, or it became a link, or a folder above it did. Import it again by its real path.",
    )
