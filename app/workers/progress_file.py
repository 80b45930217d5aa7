"""Reading a child's progress lines while it writes them."""

from __future__ import annotations

import logging
from pathlib import Path

from app.schemas.progress_lines import AnyLine, parse_line

logger = logging.getLogger(__name__)

MAX_BYTES = 4 * 2**20


class ProgressFile:
    """Yields each complete line once. Lines count as read only when the caller confirms: nothing is lost
    while the database is away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._pending = 0

    def read(self) -> list[AnyLine]:
        """The lines since the last ``confirm``, the unfinished last one left for later."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(MAX_BYTES)
        except FileNotFoundError:
            return []
        end = data.rfind(b"\n") + 1
        self._pending = end
        lines = []
        for line in data[:end].splitlines():
            try:
                lines.append(parse_line(line))
            except ValueError:  # cut short by a full disk, or of a kind that only a newer version knows
                logger.warning("%s has a line that is left out: %s", self._path, line[:200])
        return lines

    def size(self) -> int:
        """Bytes written so far: as long as they grow the child is alive, read or not."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def confirm(self) -> None:
        """The lines of the last ``read`` are stored."""
        self._offset += self._pending
        self._pending = 0
