"""Large bodies on their way to the server, in pieces: a cut loses little, and a later run goes on."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rich.progress import Progress, TaskID

from app.cli.client import Client, CommandError, ServerError, is_away
from app.cli.console import bytes_progress, format_bytes, note
from app.cli.patience import Patience
from app.cli.transfers import counted
from app.errors import LoupeError

LARGE_BYTES = 16 * 2**20
"""What is smaller goes in one request: so much may be sent twice anyway."""
PIECE_BYTES = 64 * 2**20
"""A proxy that reads a request to its end before it passes it on loses no more than that."""
PATIENCE_SECONDS = 600.0
LIMIT = 429
GOES_ON = "Start the same command again: it goes on where it stopped."


@dataclass(frozen=True)
class Cargo:
    """What is sent. ``read`` gives its bytes from any offset on; ``fingerprint`` changes with them."""

    name: str
    media_type: str
    size: int
    fingerprint: str
    read: Callable[[int], Iterator[bytes]]


def fingerprint_of(name: str, files: Iterable[tuple[str, int, int]]) -> str:
    """A digest of names, sizes in bytes and times of change in nanoseconds: of what need not be read."""
    return hashlib.sha256(json.dumps([name, *files]).encode()).hexdigest()


def send_in_pieces(client: Client, cargo: Cargo) -> str:
    """Sends it, or what an earlier run left to be sent; returns the upload's id.

    A server that is away is waited for. Raises LoupeError once it stays away.
    """
    upload = _insist(lambda: _begin(client, cargo))
    with bytes_progress() as progress:
        bar = progress.add_task("sending", total=cargo.size, completed=upload["offset"])
        journey = _Journey(client, cargo, upload, progress, bar)
        while journey.offset < cargo.size:
            journey.go_on()
    return str(upload["id"])


def import_sent(client: Client, target: str, upload: str, choices: dict[str, Any]) -> dict[str, Any]:
    """Makes a dataset of it. Asked twice, the server answers with the same one."""
    answer: dict[str, Any] = _insist(lambda: client.post(target, {"upload": upload, **choices}))
    return answer


class _Journey:
    """How far the bytes are. After a failure the server is asked, since only it knows what came."""

    def __init__(
        self, client: Client, cargo: Cargo, upload: dict[str, Any], progress: Progress, bar: TaskID
    ) -> None:
        self._client, self._cargo, self._progress, self._bar = client, cargo, progress, bar
        self._path = f"/uploads/{upload['id']}"
        self.offset: int = upload["offset"]
        self._moved = time.monotonic()

    def go_on(self) -> None:
        """Sends a piece, or finds out how much of it came."""
        before = self.offset
        try:
            self._send_piece()
        except LoupeError as error:
            if not _passes(error) or time.monotonic() - self._moved > PATIENCE_SECONDS:
                raise _with_way_on(error) from error
            _insist(_after(error, self._look))
        if self.offset > before:
            self._moved = time.monotonic()

    def _look(self) -> None:
        self.offset = self._client.get(self._path)["offset"]
        self._progress.update(self._bar, completed=self.offset)

    def _send_piece(self) -> None:
        size = min(PIECE_BYTES, self._cargo.size - self.offset)
        chunks = counted(_take(self._cargo.read(self.offset), size), self._progress, self._bar)
        self._client.append(self._path, chunks, size=size, offset=self.offset)
        self.offset += size


def _begin(client: Client, cargo: Cargo) -> dict[str, Any]:
    for found in client.list_rows("/uploads", 1, fingerprint=cargo.fingerprint)["data"]:
        if found["length"] == cargo.size:
            here = f"{format_bytes(found['offset'])} of {format_bytes(cargo.size)}"
            note(f"An earlier run sent {here}: it goes on there.")
            return dict(found)
    metadata = f"filename {_encode(cargo.name)},fingerprint {_encode(cargo.fingerprint)}"
    begun: dict[str, Any] = client.begin_upload(cargo.size, metadata)
    return begun


def _encode(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode()


def _insist(attempt: Callable[[], Any]) -> Any:
    try:
        return Patience("The server", _passes, at_most=PATIENCE_SECONDS).insist(attempt)
    except LoupeError as error:
        raise _with_way_on(error) from error


def _after(error: LoupeError, attempt: Callable[[], None]) -> Callable[[], None]:
    """``attempt``, but that the first one fails with ``error``."""
    errors = [error]

    def attempt_later() -> None:
        if errors:
            raise errors.pop()
        attempt()

    return attempt_later


def _with_way_on(error: LoupeError) -> LoupeError:
    """A limit that is reached says by itself when there is more."""
    is_limit = isinstance(error, ServerError) and error.problem.get("status") == LIMIT
    if is_limit or not _passes(error):
        return error
    return CommandError(error.detail, hint=GOES_ON, errors=error.errors)


def _passes(error: Exception) -> bool:
    """A conflict of offsets too: the server may still have been writing what came before a cut."""
    return is_away(error) or (isinstance(error, ServerError) and _is_of_offset(error))


def _is_of_offset(error: ServerError) -> bool:
    return any(field.pointer == "Upload-Offset" for field in error.errors)


def _take(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The first ``size`` bytes."""
    for chunk in chunks:
        yield chunk[:size]
        size -= len(chunk)
        if size <= 0:
            return
