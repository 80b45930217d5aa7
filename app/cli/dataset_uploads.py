"""Sending images to the server: a folder or an archive becomes a dataset."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

from app.cli.client import Client, CommandError
from app.cli.console import bytes_progress, note
from app.cli.follow import follow_job
from app.cli.job_end import require_success
from app.cli.packing import describe_left_out, pack, packed_size, read_file, require_whole, scan_folder
from app.cli.transfers import counted
from app.cli.uploads import LARGE_BYTES, Cargo, fingerprint_of, import_sent, send_in_pieces
from app.schemas.archive_kinds import media_type_of_name


def send_dataset(
    client: Client, target: str, path: Path, choices: Mapping[str, str | bool] | None = None
) -> dict[str, Any]:
    """Uploads a folder or an archive; returns the dataset that it becomes.

    A large one goes in pieces: it outlives a server that is away for a while, and an end of the command.
    """
    chosen = dict(choices or {})
    cargo = _load_folder(path, chosen) if path.is_dir() else _load_archive(path)
    if cargo.size < LARGE_BYTES:
        return _upload(client, target, cargo, chosen)
    return import_sent(client, target, send_in_pieces(client, cargo), chosen)


def finish_import(client: Client, dataset: dict[str, Any]) -> dict[str, Any]:
    """Waits for an import's end; returns the dataset, or ends the command with the import's error."""
    require_success(follow_job(client, dataset["job"], label="importing"))
    ready: dict[str, Any] = client.get(f"/datasets/{dataset['id']}")
    return ready


def _load_folder(path: Path, choices: Mapping[str, str | bool]) -> Cargo:
    contents = scan_folder(path)
    if choices.get("strict"):
        require_whole(contents, cast("Literal['top', 'leaf', 'path'] | None", choices.get("class_level")))
    for line in describe_left_out(contents.left_out):
        note(line)
    name = f"{path.resolve().name}.tar"
    files = [(file.name, file.bytes, file.changed) for file in contents.files]
    fingerprint = fingerprint_of(name, [*files, *((folder, 0, 0) for folder in contents.folders)])
    return Cargo(name, "application/x-tar", packed_size(contents), fingerprint, partial(pack, contents))


def _load_archive(path: Path) -> Cargo:
    if not path.is_file():
        raise CommandError(
            f"There is no folder or archive {path} on this machine.",
            hint="With --server-path, PATH is one on the server.",
        )
    status = path.stat()
    fingerprint = fingerprint_of(path.name, [("", status.st_size, status.st_mtime_ns)])
    media_type = media_type_of_name(path.suffix)
    return Cargo(path.name, media_type, status.st_size, fingerprint, partial(read_file, path))


def _upload(client: Client, target: str, cargo: Cargo, choices: Mapping[str, str | bool]) -> dict[str, Any]:
    with bytes_progress() as progress:
        bar = progress.add_task("sending", total=cargo.size)
        answer: dict[str, Any] = client.upload(
            target,
            counted(cargo.read(0), progress, bar),
            size=cargo.size,
            media_type=cargo.media_type,
            name=cargo.name,
            **choices,
        )
    return answer
