"""Sending images to the server: a folder or an archive becomes a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, cast

from app.cli.client import Client, CommandError
from app.cli.console import bytes_progress, note
from app.cli.follow import follow_job
from app.cli.job_end import require_success
from app.cli.packing import describe_left_out, pack, packed_size, read_chunks, require_whole, scan_folder
from app.cli.transfers import counted
from app.schemas.archive_kinds import media_type_of_name


def send_dataset(
    client: Client, target: str, path: Path, choices: Mapping[str, str | bool] | None = None
) -> dict[str, Any]:
    """Uploads a folder or an archive; returns the dataset that it becomes."""
    if path.is_dir():
        contents = scan_folder(path)
        if choices and choices.get("strict"):
            require_whole(contents, cast("Literal['top', 'leaf', 'path'] | None", choices.get("class_level")))
        for line in describe_left_out(contents.left_out):
            note(line)
        size, media_type, name = packed_size(contents), "application/x-tar", f"{path.resolve().name}.tar"
        return _upload(client, target, pack(contents), size, media_type, name, choices or {})
    if not path.is_file():
        raise CommandError(
            f"There is no folder or archive {path} on this machine.",
            hint="With --server-path, PATH is one on the server.",
        )
    with path.open("rb") as file:
        size, media_type = path.stat().st_size, media_type_of_name(path.suffix)
        return _upload(client, target, read_chunks(file), size, media_type, path.name, choices or {})


def finish_import(client: Client, dataset: dict[str, Any]) -> dict[str, Any]:
    """Waits for an import's end; returns the dataset, or ends the command with the import's error."""
    require_success(follow_job(client, dataset["job"], label="importing"))
    ready: dict[str, Any] = client.get(f"/datasets/{dataset['id']}")
    return ready


def _upload(
    client: Client,
    target: str,
    chunks: Iterator[bytes],
    size: int,
    media_type: str,
    name: str,
    choices: Mapping[str, str | bool],
) -> dict[str, Any]:
    with bytes_progress() as progress:
        bar = progress.add_task("sending", total=size)
        answer: dict[str, Any] = client.upload(
            target, counted(chunks, progress, bar), size=size, media_type=media_type, name=name, **choices
        )
    return answer
