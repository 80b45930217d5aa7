"""Reads the files of a folder on this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from app.datasets.name_encodings import decode_names
from app.datasets.names import show
from app.datasets.sources import DamagedEntryError, Limits, Source, SourceFile
from app.errors import DatasetError


class FolderSource(Source):
    """A folder. A link is followed to a file inside the folder and nowhere else; it is skipped otherwise."""

    unreadable = unsafe = DatasetError
    kind = "folder"

    def __init__(self, path: Path, limits: Limits, name_encoding: str | None = None) -> None:
        super().__init__(limits)
        self._root, self._name_encoding = path.resolve(), name_encoding
        self._total, self._done = 1, 0

    def files(self) -> Iterator[SourceFile]:
        # One more than may be: checking its name refuses the folder.
        entries = list(islice(self._walk(self._root), self.limits.max_entries + 1))
        names = [os.fsencode(os.path.relpath(entry.path, self._root)) for entry in entries]
        read = decode_names(names, self._name_encoding, len(names))
        self.name_encoding, self.encoding_reason = read.encoding, read.reason
        found = sorted(self._admitted(zip(entries, read.names, strict=True)))
        self._total = max(1, len(found))
        for self._done, (name, path, raw) in enumerate(found, start=1):
            yield SourceFile(name, partial(_read_regular_file, path, self.limits.max_file_bytes), raw)

    def progress(self) -> float:
        return self._done / self._total

    def close(self) -> None:
        """A folder needs none."""

    def _walk(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except PermissionError as error:
            raise DatasetError(
                f"the folder {show(str(folder))} cannot be read: {error.strerror}",
                hint="Let the user that runs Loupe read it.",
            ) from error
        for entry in entries:
            yield entry
            if entry.is_dir(follow_symlinks=False):
                yield from self._walk(Path(entry.path))

    def _admitted(self, entries: Iterable[tuple[os.DirEntry[str], str]]) -> Iterator[tuple[str, Path, str]]:
        for entry, raw in entries:
            name = self.check_name(raw)
            if entry.is_dir(follow_symlinks=False):
                self.note_folder(name)
            elif self.admit(name, raw):
                path = self._target(entry, name)
                if path is not None and not self.is_too_large(name, path.stat().st_size):
                    yield name, path, raw

    def _target(self, entry: os.DirEntry[str], name: str) -> Path | None:
        path = Path(entry.path)
        if entry.is_symlink():
            path = path.resolve()
            if not path.is_relative_to(self._root):
                self.skip(name, "a link that leads out of the folder")
                return None
        if not path.is_file():
            is_link = entry.is_symlink()
            self.skip(name, "a link to a folder or to nothing" if is_link else "not a regular file")
            return None
        return path


def _read_regular_file(path: Path, at_most: int) -> bytes:
    # The path may have become a link or a pipe since it was listed; neither may be followed or waited for.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise DamagedEntryError(
            f"the file cannot be read: {error.strerror}", hint="Check its permissions."
        ) from error
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise DamagedEntryError("the file is no regular file any more", hint="Import again.")
        return file.read(at_most)
