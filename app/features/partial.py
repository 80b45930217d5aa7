"""Feature vectors that were computed before a process was killed: rows appended to a file, in order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_DIGEST_BYTES = 64
_ROWS_AT_ONCE = 256


class PartialVectors:
    """The first rows of the vectors that ``digest`` names, 64 hexadecimal digits.

    A file of others is begun anew.
    """

    def __init__(self, path: Path, digest: str, dimensions: int) -> None:
        self._path, self._waiting = path, list[NDArray[np.float16]]()
        row_bytes = dimensions * np.dtype(np.float16).itemsize
        whole = _count_rows(path, digest, row_bytes)
        self._file = path.open("r+b" if whole else "wb")
        if whole:
            self._file.seek(_DIGEST_BYTES + whole * row_bytes)
        else:
            self._file.write(digest.encode())
        self._file.truncate()
        self._file.flush()
        self.rows: NDArray[np.float16] = (
            np.memmap(path, np.float16, mode="r", offset=_DIGEST_BYTES, shape=(whole, dimensions))
            if whole
            else np.empty((0, dimensions), np.float16)
        )
        """Those that are there, float16 (rows, dimensions), mapped into memory."""

    def append(self, vector: NDArray[np.float16]) -> None:
        """Keeps the next row; a few of the last may be lost by a kill."""
        self._waiting.append(vector)
        if len(self._waiting) >= _ROWS_AT_ONCE:
            self._write()

    def finish(self) -> None:
        """Deletes the file: all rows are kept elsewhere."""
        self._file.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Keeps the file for the next time."""
        if not self._file.closed:
            self._write()
            self._file.close()

    def _write(self) -> None:
        self._file.writelines(vector.tobytes() for vector in self._waiting)
        self._file.flush()
        self._waiting.clear()


def _count_rows(path: Path, digest: str, row_bytes: int) -> int:
    """The whole rows of a file that is of these vectors; else 0."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        if file.read(_DIGEST_BYTES) != digest.encode():
            return 0
    return (path.stat().st_size - _DIGEST_BYTES) // row_bytes
