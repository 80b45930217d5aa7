"""``loupe predict`` for many images: packed while they are sent, answered by a job, fetched as one file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.progress import Progress, TaskID

from app.cli.client import Client, CommandError, ServerError, UnreachableError
from app.cli.console import bytes_progress, format_seconds, note, work_progress
from app.cli.follow import AT_REST, DETACHED, POLL_SECONDS
from app.cli.job_end import require_success
from app.cli.packing import FolderContents, PackedFile, display_name, pack, packed_size, require_readable

BATCH_FROM = 200
"""So many images are sent as one archive, unless the user decides."""
_NOT_HERE = frozenset({404, 405, 409, 413, 415})
"""What a server answers that cannot take them as a job: it or a worker is older, or they are too large."""


@dataclass(frozen=True)
class Batch:
    """A job that answers images. ``sent``: each image's name in the archive, or why it could not be read."""

    id: str
    model: Mapping[str, Any]
    sent: Mapping[Path, str | dict[str, Any]]

    @property
    def path(self) -> str:
        return f"/predictions/{self.id}"


def begin_batch(
    client: Client, pictures: Sequence[Path], fields: Mapping[str, str], *, may_refuse: bool
) -> Batch | None:
    """Sends the images. None where there is nothing to send, or the server cannot take them as a job and
    ``may_refuse``.
    """
    contents, sent = FolderContents(), dict[Path, str | dict[str, Any]]()
    for number, path in enumerate(pictures):
        # A name of ours: what a user calls an image is answered as one, whatever it is and is called.
        name = f"{number:08d}.jpg"
        try:
            contents.files.append(PackedFile(path, name, require_readable(path)))
            sent[path] = name
        except OSError as error:
            sent[path] = unreadable(error.strerror or str(error))
        except CommandError as error:
            sent[path] = unreadable(error.detail)
    if not contents.files:
        return None
    size = packed_size(contents)
    try:
        with bytes_progress() as progress:
            chunks = _counted(pack(contents), progress, progress.add_task("sending", total=size))
            answer = client.upload(
                "/predictions", chunks, size=size, media_type="application/x-tar", name="images.tar", **fields
            )
    except ServerError as error:
        if may_refuse and error.problem.get("status") in _NOT_HERE:
            note(f"The server does not take them as one job ({error.detail}). They are asked one by one.")
            return None
        raise
    return Batch(answer["id"], answer["model"], sent)


def wait_for_batch(client: Client, batch: Batch) -> None:
    """Shows the job until it has succeeded; else the command ends. Ctrl-C leaves the job alone."""
    try:
        with work_progress() as progress:
            require_success({**_watch(client, batch, progress), "kind": "prediction"})
    except KeyboardInterrupt:
        note(f"Detached; {batch.id} goes on.", style=None)
        note(f"Its results: {client.server}{batch.path}/results    End it: loupe job cancel {batch.id}")
        raise typer.Exit(DETACHED) from None
    except UnreachableError:
        note(f"{batch.id} is kept. Once the server answers: {client.server}{batch.path}", style=None)
        raise


def read_answers(client: Client, batch: Batch, progress: Progress) -> Iterator[dict[str, Any]]:
    """The answers in the order of the images, in the form of ``POST /predict``, with the model in each."""
    bar = progress.add_task("reading", total=len(batch.sent))
    with client.stream(f"{batch.path}/results") as response:
        lines = (json.loads(line) for line in split_lines(response.iter_bytes()))
        for path, sent in batch.sent.items():
            shown = display_name(path)
            yield (
                _as_answer(sent, lines, shown, batch.model)
                if isinstance(sent, str)
                else {**sent, "name": shown}
            )
            progress.advance(bar)


def unreadable(detail: str) -> dict[str, Any]:
    """The answer for a file that cannot be read here."""
    return {"error": {"code": "unreadable_file", "detail": detail}}


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """At line feeds alone: JSON may hold the other characters that Python splits text at."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines
    if rest:
        yield rest


def _as_answer(
    sent: str, lines: Iterator[dict[str, Any]], shown: str, model: Mapping[str, Any]
) -> dict[str, Any]:
    line = next(lines, None)
    if line is None or line["name"] != sent:
        raise CommandError("The results of the server are not those of the images that were sent.")
    image, error = line["image"], line["error"]
    return {
        "name": shown,
        "image": {**image, "sha256": line["sha256"]} if image else None,
        "predictions": line["predictions"],
        "top": line["predictions"][0] if line["predictions"] else None,
        "warnings": line["warnings"],
        **{name: line.get(name) for name in ("decision", "reject_reason", "scores")},
        "error": {**error, "instance": shown} if error else None,
        "model": dict(model),
    }


def _watch(client: Client, batch: Batch, progress: Progress) -> dict[str, Any]:
    bar = progress.add_task("predicting", total=None, detail="")
    while True:
        job: dict[str, Any] = client.get_patiently(batch.path)
        if job["status"] in AT_REST:
            return job
        state = job["progress"]
        if state["total"]:
            speed, left = state["images_per_second"], state["eta_seconds"]
            details = [
                f"{state['done']:,}/{state['total']:,}",
                f"{speed:,.0f} images/s" if speed else "",
                f"{format_seconds(left)} left" if left is not None else "",
            ]
            progress.tasks[bar].total = state["total"]
            progress.update(bar, completed=state["done"], detail="  ".join(filter(None, details)))
        else:
            progress.update(bar, detail=job["stage"] or job["status"])
        time.sleep(POLL_SECONDS)


def _counted(chunks: Iterable[bytes], progress: Progress, bar: TaskID) -> Iterator[bytes]:
    for chunk in chunks:
        yield chunk
        progress.advance(bar, len(chunk))
