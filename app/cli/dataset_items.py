"""``loupe dataset items`` and ``loupe dataset similar``: the images of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from app.cli.client import Client, CommandError, quoted
from app.cli.console import add_row, format_bytes, make_table, note, printable, say_json, show
from app.cli.options import DEFAULT_SERVER, AsJson, DatasetId, Limit, Server, examples
from app.cli.packing import display_name, require_readable

items_epilog = examples(
    "loupe dataset items dst_… --label scratch",
    "loupe dataset items dst_… --job job_… --split test",
    "loupe dataset items dst_… --group part7",
    "loupe dataset items dst_… --suspect",
    "loupe dataset items dst_… --contradiction",
    "loupe dataset items dst_… --similar-to img_… --limit 10",
)
similar_epilog = examples("loupe dataset similar dst_… image.jpg")

COLUMNS = {
    "id": "!id",
    "similarity": ">similarity",
    "name": "name",
    "label": "label",
    "split": "split",
    "group": "group",
    "near_group": "near-group",
    "width": ">width",
    "height": ">height",
    "format": "format",
}
SOMETIMES = ("similarity", "group", "near_group")
"""Columns that are left out where they would be empty."""


def list_items(
    dataset: DatasetId,
    job: Annotated[
        str | None, typer.Option("--job", help="Show the split of each image in this training.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Only images of this class; repeat it for several.")
    ] = None,
    split: Annotated[
        Literal["train", "valid", "test"] | None,
        typer.Option(
            "--split", help="Only images of this split: of --job, else of the folders they came in."
        ),
    ] = None,
    group: Annotated[str | None, typer.Option("--group", help="Only images of this group.")] = None,
    near_group: Annotated[
        str | None,
        typer.Option(
            "--near-group", help="Only images that show the same thing: of this near-duplicate group."
        ),
    ] = None,
    suspect: Annotated[
        bool | None, typer.Option("--suspect/--no-suspect", help="Only images whose label looks wrong.")
    ] = None,
    outlier: Annotated[
        bool | None,
        typer.Option("--outlier/--no-outlier", help="Only images that look like no other of their class."),
    ] = None,
    copy: Annotated[
        bool | None,
        typer.Option(
            "--copy/--no-copy", help="Only images whose file is there more than once, side by side."
        ),
    ] = None,
    near_duplicate: Annotated[
        bool | None,
        typer.Option(
            "--near-duplicate/--no-near-duplicate",
            help="Only images that show what another one shows too, side by side.",
        ),
    ] = None,
    contradiction: Annotated[
        bool | None,
        typer.Option(
            "--contradiction/--no-contradiction",
            help="Only images of which another class has copies, or others that show the same thing.",
        ),
    ] = None,
    similar_to: Annotated[
        str | None,
        typer.Option(
            "--similar-to",
            metavar="ITEM",
            help="Show the images that look most like this one first, by its id.",
        ),
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List the images of a dataset: those for which all holds that is asked for.

    With --similar-to, --suspect, --outlier or --near-duplicate the dataset must be examined:
    loupe dataset examine.
    """
    wanted = {
        "job": job,
        "label": label,
        "split": split,
        "group": group,
        "near_group": near_group,
        "suspect": suspect,
        "outlier": outlier,
        "copy": copy,
        "near_duplicate": near_duplicate,
        "contradiction": contradiction,
        "similar_to": similar_to,
    }
    page = Client(server).list_rows(f"/datasets/{quoted(dataset)}/items", limit, **wanted)
    if as_json:
        say_json(page)
        return
    _show_rows(page["data"])
    if page["has_more"]:
        note("There are more: --limit")


def find_similar(
    dataset: DatasetId,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An image, which need not be in the dataset.")],
    limit: Annotated[int, typer.Option("--limit", min=1, max=100, help="How many images to show.")] = 10,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List the images of a dataset that look most like an image, which need not be in it.

    The dataset must be examined: loupe dataset examine.
    """
    sent = (printable(display_name(file)), _read(file))
    found = Client(server).post_files(f"/datasets/{quoted(dataset)}/similar", {}, [sent], limit=limit)
    if as_json:
        say_json(found)
        return
    _show_rows(found["data"])
    copies = [row["id"] for row in found["data"] if row["sha256"] == found["image"]["sha256"]]
    if copies:
        note(f"The same file is in the dataset: {', '.join(copies)}")


def _read(file: Path) -> bytes:
    try:
        require_readable(file)
        return file.read_bytes()
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror or error}") from error
    except CommandError as error:
        raise CommandError(f"{file}: {error.detail}") from error


def _show_rows(rows: list[dict[str, Any]]) -> None:
    names = [
        name for name in COLUMNS if name not in SOMETIMES or any(row.get(name) is not None for row in rows)
    ]
    table = make_table(*(COLUMNS[name] for name in names), ">size", "notes")
    for row in rows:
        cells = (f"{row[name]:.4f}" if name == "similarity" else row[name] for name in names)
        add_row(table, *cells, format_bytes(row["bytes"]), ", ".join(row["notes"]))
    show(table)
