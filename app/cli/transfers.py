"""Files on their way to and from the server, with a bar for the bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID

from app.cli.client import Client, CommandError
from app.cli.console import bytes_progress
from app.host.files import write_aside

_SHA256 = re.compile(r'"([0-9a-f]{64})"')


def require_target(path: Path, hint: str) -> None:
    """Raises CommandError where no file can be written."""
    if path.is_dir():
        raise CommandError(f"{path} is a folder.", hint=hint)
    if not path.parent.is_dir():
        raise CommandError(f"There is no folder {path.parent}.")


def download(client: Client, path: str, to: Path, **params: Any) -> int:
    """Writes beside the target and renames, so that a broken download leaves no half file under its name.

    Where the server's ``ETag`` is the SHA-256 of the file, as that of a model, it is checked.
    """
    digest = hashlib.sha256()
    with (
        write_aside(to, is_durable=False) as aside,
        client.stream(path, **params) as response,
        bytes_progress() as progress,
        aside.open("wb") as file,
    ):
        length = response.headers.get("content-length")
        bar = progress.add_task("receiving", total=int(length) if length else None)
        for chunk in counted(response.iter_bytes(), progress, bar):
            digest.update(chunk)
            file.write(chunk)
        written = file.tell()
        expected = _SHA256.fullmatch(response.headers.get("etag", ""))
        if expected is not None and expected[1] != digest.hexdigest():
            raise CommandError("The file that came is not the one that the server has.", hint="Try again.")
    return written


def counted(chunks: Iterable[bytes], progress: Progress, bar: TaskID) -> Iterator[bytes]:
    """The chunks as they are, and the bar with them."""
    for chunk in chunks:
        yield chunk
        progress.advance(bar, len(chunk))
