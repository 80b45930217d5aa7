"""``loupe dataset items``: the images of a dataset."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from app.cli.client import Client, quoted
from app.cli.console import add_row, format_bytes, make_table, note, say_json, show
from app.cli.options import DEFAULT_SERVER, AsJson, DatasetId, Limit, Server, examples

items_epilog = examples(
    "loupe dataset items dst_… --label scratch",
    "loupe dataset items dst_… --job job_… --split test",
    "loupe dataset items dst_… --group part7",
)

COLUMNS = {
    "id": "!id",
    "name": "name",
    "label": "label",
    "split": "split",
    "group": "group",
    "width": ">width",
    "height": ">height",
    "format": "format",
}
SOMETIMES = ("group",)
"""Columns that are left out where they would be empty."""


def list_items(
    dataset: DatasetId,
    job: Annotated[
        str | None, typer.Option("--job", help="Show the split of each image in this training.")
    ] = None,
    label: Annotated[str | None, typer.Option("--label", help="Only images of this class.")] = None,
    split: Annotated[
        Literal["train", "valid", "test"] | None,
        typer.Option(
            "--split", help="Only images of this split: of --job, else of the folders they came in."
        ),
    ] = None,
    group: Annotated[str | None, typer.Option("--group", help="Only images of this group.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List the images of a dataset: those for which all holds that is asked for."""
    wanted = {"job": job, "label": label, "split": split, "group": group}
    page = Client(server).list_rows(f"/datasets/{quoted(dataset)}/items", limit, **wanted)
    if as_json:
        say_json(page)
        return
    _show_rows(page["data"])
    if page["has_more"]:
        note("There are more: --limit")


def _show_rows(rows: list[dict[str, Any]]) -> None:
    names = [name for name in COLUMNS if name not in SOMETIMES or any(row.get(name) for row in rows)]
    table = make_table(*(COLUMNS[name] for name in names), ">size", "notes")
    for row in rows:
        cells = (row[name] for name in names)
        add_row(table, *cells, format_bytes(row["bytes"]), ", ".join(row["notes"]))
    show(table)
