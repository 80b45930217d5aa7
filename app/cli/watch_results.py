"""The results of ``loupe watch``: a file that only grows, and the record of what has been predicted.

A row is one line, also where a name holds a line break, so that a line without an end is a row that a kill
cut off. One process at a time writes the file.
"""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from app.batches.table import DECISION_COLUMNS, table_cells, table_columns
from app.cli.client import CommandError
from app.csv_cells import is_formula, safe_row
from app.host import failpoints
from app.host.files import sync

REJECTED = "_rejected"
"""The destination of images whose answer was rejected, whatever their label."""
OWN_COLUMNS = ("predicted_at", "modified_at", "bytes", "key")
_BLOCK_BYTES = 2**20


class Form(Protocol):
    """How a row is written, and what is read of it: its image's key and destination, None for an error."""

    head: bytes

    def adopt(self, head: bytes) -> bool:
        """Whether a file that begins with ``head`` can go on in this form."""
        ...

    def write(self, row: Mapping[str, Any]) -> bytes: ...

    def read(self, line: bytes) -> tuple[str, str | None]: ...


class JsonLines:
    head = b""

    def adopt(self, head: bytes) -> bool:
        return head == self.head

    def write(self, row: Mapping[str, Any]) -> bytes:
        return json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"

    def read(self, line: bytes) -> tuple[str, str | None]:
        row = json.loads(line)
        return str(row["key"]), _destination(row)


class Csv:
    def __init__(self, ranks: int) -> None:
        self._ranks = ranks
        self._columns = [*table_columns(ranks), *OWN_COLUMNS]
        self.head = _csv_line(self._columns)

    def adopt(self, head: bytes) -> bool:
        """A file that an older Loupe began goes on without the columns of the decision."""
        older = [column for column in self._columns if column not in DECISION_COLUMNS]
        if head == _csv_line(older):
            self._columns, self.head = older, head
        return head == self.head

    def write(self, row: Mapping[str, Any]) -> bytes:
        shown = {**row, "predictions": row["predictions"][: self._ranks]}
        table = zip(table_columns(self._ranks), table_cells(shown, self._ranks), strict=True)
        cells = {**dict(table), **{column: row[column] for column in OWN_COLUMNS}}
        return _csv_line([_on_one_line(cell) for cell in safe_row([cells[name] for name in self._columns])])

    def read(self, line: bytes) -> tuple[str, str | None]:
        (cells,) = csv.reader([line.decode("utf-8")])
        row = dict(zip(self._columns, cells, strict=True))
        label = row["label"]
        if label.startswith("'") and is_formula(label[1:]):
            label = label[1:]
        if row.get("decision") == "reject":
            label = REJECTED
        return row["key"], None if row["error"] else label


FORMS: dict[str, Callable[[int], Form]] = {
    ".csv": Csv,
    ".jsonl": lambda _: JsonLines(),
    ".ndjson": lambda _: JsonLines(),
}


@dataclass(frozen=True)
class _Known:
    destinations: dict[str, str | None]
    end: int
    """Where the last whole line ends."""


class Results:
    """``destinations``: of each image that has a row its label, or ``REJECTED``; None for one with an error.

    Raises CommandError for a file that is none of ours or is being written by another process, OSError.
    """

    def __init__(self, path: Path, ranks: int) -> None:
        self.path, self._form = path, FORMS[require_form(path)](ranks)
        is_new = not path.exists()
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            self._lock()
            known = self._read()
            self.destinations = known.destinations
            size = os.fstat(self._descriptor).st_size
            self.is_repaired = known.end < size
            if self.is_repaired:
                os.ftruncate(self._descriptor, known.end)
            if known.end == 0:
                self._write(self._form.head)
            os.fsync(self._descriptor)
            if is_new:
                sync(path.parent)
        except BaseException:
            self.close()
            raise

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Adds rows, which are on the disk when this returns. Raises CommandError, and has added none."""
        self._require_in_place()
        before = os.fstat(self._descriptor).st_size
        try:
            self._write(b"".join(map(self._form.write, rows)))
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, before)
            raise CommandError(
                f"{self.path}: {error.strerror}",
                hint="Make room there, then start the same command again: it goes on after the last row.",
            ) from error
        for row in rows:
            self.destinations[row["key"]] = _destination(row)

    def close(self) -> None:
        os.close(self._descriptor)

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some network shares have no locks.
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise CommandError(
                    f"Another `loupe watch` writes {self.path}.",
                    hint="End that one, or give each its own --out.",
                ) from error

    def _read(self) -> _Known:
        destinations, end, number = dict[str, str | None](), 0, 0
        with os.fdopen(os.dup(self._descriptor), "rb", buffering=_BLOCK_BYTES) as file:
            file.seek(0)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                number, end = number + 1, end + len(line)
                if number == 1 and self._form.head:
                    self._require_head(line)
                    continue
                try:
                    key, destination = self._form.read(line)
                except (ValueError, KeyError, TypeError, IndexError, csv.Error) as error:
                    raise CommandError(
                        f"Line {number:,} of {self.path} is no row of `loupe watch`.",
                        hint="Mend or remove the line, or name another file with --out.",
                    ) from error
                destinations[key] = destination
        return _Known(destinations, end)

    def _require_head(self, line: bytes) -> None:
        if not self._form.adopt(line.rstrip(b"\r\n") + b"\n"):
            raise CommandError(
                f"{self.path} has other columns than this command would write.",
                hint="Give the --top-k that it was begun with, or name another file with --out.",
            )

    def _write(self, content: bytes) -> None:
        # In two parts while a test kills in between, and not at the end of a row.
        cut = len(content) // 2 - 3 if failpoints.FOLDER else 0
        for part in (content[:cut], content[cut:]):
            left = memoryview(part)
            while left:
                left = left[os.write(self._descriptor, left) :]
            failpoints.pass_by("watch.writing")

    def _require_in_place(self) -> None:
        try:
            is_in_place = os.path.samestat(self.path.stat(), os.fstat(self._descriptor))
        except FileNotFoundError:
            is_in_place = False
        if not is_in_place:
            raise CommandError(
                f"{self.path} was moved or deleted while its rows were being written.",
                hint="End `loupe watch` before you move its results.",
            )


def require_form(path: Path) -> str:
    """The file's ending, which decides its form. Raises CommandError for one that has none."""
    ending = path.suffix.lower()
    if ending not in FORMS:
        raise CommandError(
            f"{path.name!r} does not say which form the results have.", hint="End --out in .csv or .jsonl."
        )
    return ending


def _destination(row: Mapping[str, Any]) -> str | None:
    if not row["predictions"]:
        return None
    # Rows of an older Loupe have no decision.
    return REJECTED if row.get("decision") == "reject" else str(row["predictions"][0]["label"])


def _csv_line(cells: Sequence[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode("utf-8", "replace")


def _on_one_line(cell: Any) -> Any:
    return cell.replace("\r", "\\r").replace("\n", "\\n") if isinstance(cell, str) else cell
