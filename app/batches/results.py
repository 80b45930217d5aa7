"""The results while they grow: appended in order, saved now and then, and gone on with by a later attempt.

A saved state is a folder with copies of the files and how far they go. It is written whole or not at all,
and read only if every byte is as it was.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from app.batches.files import RESULTS, SKIPPED
from app.batches.spec import SkippedFile, WrittenFile
from app.child import write_message
from app.errors import InvalidRequestError
from app.host.files import folder_aside, make_folder
from app.schemas.batch_prediction import BatchLine
from app.schemas.message import Message, parse_message

POSITION = "position.json"
_PREFIX = "checkpoint-"
_KEPT = 2
_CHUNK = 2**20
_SHARE = 20
"""Saving may take one part in so many of the time: late in a large job there is much to copy."""


class Position(Message):
    """How far the results go. ``identity``: of the model and the settings that they are of.

    ``entries``: of the source, done. ``rejected``: an older release counted none.
    """

    format_version: Literal[1] = 1
    identity: str
    entries: int
    images: int
    errors: int
    rejected: int = 0
    skipped: int
    files: dict[str, WrittenFile]


class DamagedStateError(Exception):
    """A saved state is not what was written, or not of this job."""


class GrowingFile:
    """A file that is only appended to; its digest grows with it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("wb")
        self._digest = hashlib.sha256()
        self._bytes = 0

    def append(self, data: bytes) -> None:
        self._file.write(data)
        self._digest.update(data)
        self._bytes += len(data)

    def copy_from(self, source: Path, written: WrittenFile) -> None:
        """Begins with what was saved. Raises DamagedStateError, OSError."""
        with source.open("rb") as saved:
            while chunk := saved.read(_CHUNK):
                self.append(chunk)
        if self.describe() != written:
            raise DamagedStateError(f"{source.name} has changed since it was written")

    def flush(self) -> None:
        self._file.flush()

    def describe(self) -> WrittenFile:
        return WrittenFile(bytes=self._bytes, sha256=self._digest.hexdigest())

    def close(self) -> None:
        self._file.close()


class Results:
    """What came out so far, in ``folder``; a context manager. ``root``: where this attempt saves."""

    def __init__(self, folder: Path, root: Path, identity: str, checkpoint_seconds: float) -> None:
        self._folder, self._root, self._identity = folder, root, identity
        self._seconds = checkpoint_seconds
        self._saved_at, self._number = time.monotonic(), 0
        self._pause = checkpoint_seconds
        self._files = self._begin()

    def __enter__(self) -> Results:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    @property
    def entries(self) -> int:
        return self._entries

    def add(self, outcome: BatchLine | SkippedFile) -> None:
        """What became of the next entry."""
        self._entries += 1
        if isinstance(outcome, SkippedFile):
            self.skip([outcome])
            return
        self.images += 1
        self.errors += outcome.error is not None
        self.rejected += outcome.decision == "reject"
        self._files[RESULTS].append(outcome.model_dump_json().encode() + b"\n")

    def skip(self, files: Iterable[SkippedFile]) -> None:
        """Notes files that are no images."""
        for file in files:
            self.skipped += 1
            self._files[SKIPPED].append(file.model_dump_json().encode() + b"\n")

    def is_due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved_at >= self._pause

    def save(self) -> tuple[Path, str]:
        """Saves the state: its folder, and the digest of the results so far. Raises OSError.

        When this returns, the state outlives a loss of power.
        """
        began = time.monotonic()
        self._number += 1
        position = self._position()
        make_folder(self._root)
        folder = self._root / f"{_PREFIX}{self._number:06d}"
        with folder_aside(folder) as aside:
            for name, file in self._files.items():
                file.flush()
                shutil.copyfile(file.path, aside / name)
            write_message(aside / POSITION, position)
        for old in _newest_first(self._root)[_KEPT:]:
            shutil.rmtree(old, ignore_errors=True)
        self._saved_at = time.monotonic()
        self._pause = max(self._seconds, _SHARE * (self._saved_at - began))
        return folder, position.files[RESULTS].sha256

    def go_on_from(self, folder: Path) -> None:
        """Begins with a saved state. Raises DamagedStateError; nothing is then taken from it."""
        try:
            position = parse_message(Position, (folder / POSITION).read_bytes(), POSITION)
            if position.identity != self._identity:
                raise DamagedStateError("it is of another model or of other settings")
            for name, file in self._files.items():
                file.copy_from(folder / name, position.files[name])
        except (DamagedStateError, InvalidRequestError, OSError, KeyError) as error:
            self._close()
            self._files = self._begin()
            raise DamagedStateError(str(error)) from error
        self._entries, self.images = position.entries, position.images
        self.errors, self.rejected, self.skipped = position.errors, position.rejected, position.skipped

    def finish(self) -> dict[str, WrittenFile]:
        """Closes the files and describes them, by name."""
        self._close()
        return {name: file.describe() for name, file in self._files.items()}

    def _begin(self) -> dict[str, GrowingFile]:
        self._entries = self.images = self.errors = self.rejected = self.skipped = 0
        return {name: GrowingFile(self._folder / name) for name in (RESULTS, SKIPPED)}

    def _close(self) -> None:
        for file in self._files.values():
            file.close()

    def _position(self) -> Position:
        return Position(
            identity=self._identity,
            entries=self._entries,
            images=self.images,
            errors=self.errors,
            rejected=self.rejected,
            skipped=self.skipped,
            files={name: file.describe() for name, file in self._files.items()},
        )


def find_saved(roots: Iterable[Path]) -> Iterator[Path]:
    """The saved states of earlier attempts, in the order given, the newest of each first."""
    for root in roots:
        yield from _newest_first(root)


def _newest_first(root: Path) -> list[Path]:
    return sorted(root.glob(f"{_PREFIX}*"), reverse=True) if root.is_dir() else []
