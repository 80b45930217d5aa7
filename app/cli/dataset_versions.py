"""``loupe dataset edit`` and ``loupe dataset diff``: new versions of a dataset, and what differs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from app.cli.class_maps import Drop, Keep, Merge, read_class_map
from app.cli.client import Client, CommandError, quoted
from app.cli.console import add_row, make_table, note, say, say_json, show
from app.cli.dataset_examination import warn_of_findings
from app.cli.dataset_uploads import finish_import, send_dataset
from app.cli.options import DEFAULT_SERVER, AsJson, DatasetId, Limit, Server, examples
from app.cli.reports import note_next, summarise_import
from app.words import count

edit_epilog = examples(
    "loupe dataset edit dst_… --add ~/images/new-screws",
    "loupe dataset edit dst_… --remove good/17.png --relabel good/18.png=scratch",
    "loupe dataset edit dst_… --drop unclear --merge dent=bump,dint",
    "loupe dataset edit dst_… --edits changes.json",
)


def edit_dataset(
    dataset: DatasetId,
    add: Annotated[
        list[str] | None,
        typer.Option(
            "--add",
            metavar="PATH|DATASET",
            help="A folder or archive of new images, or a dataset whose images join; may be given often.",
        ),
    ] = None,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            "--remove", metavar="IMAGE", help="An image that leaves, by id or name; may be given often."
        ),
    ] = None,
    relabel: Annotated[
        list[str] | None,
        typer.Option(
            "--relabel",
            metavar="IMAGE=CLASS",
            help="The right class of an image, by id or name; may be given often.",
        ),
    ] = None,
    keep: Keep = None,
    drop: Drop = None,
    merge: Merge = None,
    edits: Annotated[
        Path | None,
        typer.Option(
            "--edits",
            metavar="FILE",
            help='Long lists as JSON: {"remove": [IMAGE, …], "relabel": {IMAGE: CLASS, …}}.',
        ),
    ] = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Make a new dataset of one: images join, leave or get another class.

    The old dataset stays as it is, and so do the models that were trained on it. No image is copied.
    """
    body = _read_edits(edits)
    body["remove"] = [*body.get("remove", []), *(remove or [])]
    body["relabel"] = {**body.get("relabel", {}), **dict(map(_parse_relabel, relabel or []))}
    if class_map := read_class_map(keep, drop, merge):
        body["class_map"] = class_map
    client = Client(server)
    product = client.get(f"/datasets/{quoted(dataset)}")["product"]
    body["add"] = [*body.get("add", []), *(_add(client, product, each) for each in add or [])]
    wanted = {name: value for name, value in body.items() if value}
    made = finish_import(client, client.post(f"/datasets/{quoted(dataset)}/versions", wanted))
    if as_json:
        say_json(made)
        return
    report = client.get(f"/datasets/{made['id']}/report")
    summarise_import(made, report)
    warn_of_findings(client, made)
    note(f"Compared with {dataset}: {_describe(report['changes'])}.")
    note_next(made, report, f"loupe train {product} --dataset {made['id']} --follow")


diff_epilog = examples("loupe dataset diff dst_… dst_…", "loupe dataset diff dst_… dst_… --json")


def diff_datasets(
    dataset: DatasetId,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Id of the dataset to compare with.")],
    limit: Limit = 50,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Show what became of the images of a dataset in another one.

    The same content is the same image, whatever its name.
    """
    path = f"/datasets/{quoted(dataset)}/diff/{quoted(other)}"
    page = Client(server).list_rows(path, limit)
    if as_json:
        say_json(page)
        return
    if not any(page["counts"].values()):
        say("No image differs.")
        return
    say(_describe(page["counts"]))
    classes = make_table("class", ">before", ">after")
    for entry in page["classes"]:
        add_row(classes, entry["name"], entry["before"], entry["after"])
    if page["classes"]:
        show(classes)
    table = make_table("change", "name", "class before", "class after")
    for entry in page["data"]:
        add_row(table, entry["change"], entry["name"], entry["label_before"], entry["label_after"])
    show(table)
    if page["has_more"]:
        note("There are more: --limit")


def _read_edits(path: Path | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        edits = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise CommandError(f"{path} is no JSON: {error}.") from None
    if not isinstance(edits, dict):
        raise CommandError(f"{path} is no JSON object.", hint='For example: {"remove": ["good/17.png"]}')
    return edits


def _parse_relabel(text: str) -> tuple[str, str]:
    name, equals, label = text.rpartition("=")
    if not (name and equals and label):
        raise CommandError(f"--relabel {text} is not IMAGE=CLASS.", hint="--relabel good/18.png=scratch")
    return name, label


def _add(client: Client, product: str, wanted: str) -> str:
    """The id of a dataset that joins; a folder or an archive becomes one first."""
    if wanted.startswith("dst_") and not Path(wanted).exists():
        return wanted
    sent = send_dataset(client, f"/products/{quoted(product)}/datasets", Path(wanted))
    added: str = finish_import(client, sent)["id"]
    note(f"{wanted} is dataset {added}.")
    return added


def _describe(changes: dict[str, int]) -> str:
    return ", ".join(
        count(number, f"image {change}", f"images {change}") for change, number in changes.items() if number
    )
