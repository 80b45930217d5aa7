"""``loupe dataset``"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from app.cli import dataset_examination, dataset_items, dataset_versions
from app.cli.assignments import parse_shares, parse_value
from app.cli.client import Client, CommandError, quoted
from app.cli.console import (
    add_row,
    format_age,
    format_bytes,
    format_time,
    join_counts,
    make_table,
    note,
    say,
    say_json,
    say_problem,
    show,
    show_fields,
)
from app.cli.dataset_uploads import finish_import, send_dataset
from app.cli.deletions import confirm, count_jobs, list_jobs
from app.cli.follow import follow_job
from app.cli.job_end import require_success
from app.cli.options import (
    DEFAULT_SERVER,
    AsJson,
    ClassLevel,
    DatasetId,
    GroupBy,
    Labels,
    Limit,
    NameEncoding,
    Server,
    Yes,
    examples,
    given_choices,
)
from app.cli.reports import note_next, show_import_report, summarise_import
from app.cli.transfers import download, require_target
from app.images.formats import READABLE
from app.schemas.archive_kinds import READABLE_ARCHIVES
from app.words import count

app = typer.Typer(no_args_is_help=True, help="Datasets: the labelled images of a product.")

app.command("edit", epilog=dataset_versions.edit_epilog)(dataset_versions.edit_dataset)
app.command("examine", epilog=dataset_examination.examine_epilog)(dataset_examination.examine_dataset)
app.command("items", epilog=dataset_items.items_epilog)(dataset_items.list_items)
app.command("similar", epilog=dataset_items.similar_epilog)(dataset_items.find_similar)
app.command("diff", epilog=dataset_versions.diff_epilog)(dataset_versions.diff_datasets)


@app.command(
    "import",
    help="Import images. A folder is packed while it is sent.\n\n"
    "The folder holds one folder per class; or train, valid and test, each with one folder per class; or a "
    "table with the columns file_name and label. "
    f"Images may be {READABLE} of any size; what is no image is left out and listed.",
    epilog=examples(
        "loupe dataset import screws ~/images/screws",
        "loupe dataset import screws screws.zip",
        "loupe dataset import screws screws.zip --name-encoding shift_jis",
        "loupe dataset import screws ~/images/screws --labels labels.csv",
        "loupe dataset import screws ~/images/screws --group-by '(part[0-9]+)_'",
        "loupe dataset import screws /data/screws --server-path",
    ),
)
def import_dataset(
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="Id of the product.")],
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help=f"A folder, or a {READABLE_ARCHIVES}, of one folder of images per class."
        ),
    ],
    server_path: Annotated[
        bool, typer.Option("--server-path", help="PATH is on the server, under its LOUPE_DATASET_ROOTS.")
    ] = False,
    name_encoding: NameEncoding = None,
    class_level: ClassLevel = None,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict", help="Refuse, with the whole list, if an image is damaged, odd or would be left out."
        ),
    ] = False,
    pixel_range: Annotated[
        str | None,
        typer.Option(
            "--pixel-range",
            metavar="LOW-HIGH",
            help="Values of 16-bit greyscale that become black and white, for example 0-4095.",
        ),
    ] = None,
    group_by: GroupBy = None,
    labels: Labels = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the import's end.")] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    client = Client(server)
    target = f"/products/{quoted(product)}/datasets"
    choices = given_choices(
        name_encoding=name_encoding,
        class_level=class_level,
        strict=strict,
        pixel_range=pixel_range,
        group_by=group_by,
        labels=labels,
    )
    if server_path:
        dataset = client.post(target, {"path": path, **choices})
    else:
        dataset = send_dataset(client, target, Path(path), choices)
    if not no_wait:
        dataset = finish_import(client, dataset)
    if as_json:
        say_json(dataset)
    elif no_wait:
        say(dataset["id"])
        note(f"The import goes on: loupe job follow {dataset['job']}")
    else:
        report = client.get(f"/datasets/{dataset['id']}/report")
        summarise_import(dataset, report)
        dataset_examination.warn_of_findings(client, dataset)
        note_next(dataset, report, f"loupe train {product} --follow")


@app.command("list")
def list_datasets(
    product: Annotated[
        str | None, typer.Argument(metavar="PRODUCT", help="Id of the product; all if not given.")
    ] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List the datasets of a product or of all, newest first."""
    client = Client(server)
    page = _list_all(client, limit) if product is None else _list_of(client, product, limit)
    if as_json:
        say_json(page)
        return
    table = make_table(
        "!id",
        "product",
        "status",
        ">images",
        ">classes",
        ">left out",
        "source",
        ">age",
        drops=("age", "left out", "source", "classes", "product"),
    )
    for entry in page["data"]:
        add_row(
            table,
            entry["id"],
            entry["product"],
            entry["status"],
            _number(entry["items"]),
            len(entry["classes"]) or "",
            _number(entry["skipped"]),
            entry["source"],
            format_age(entry["created_at"]),
        )
    show(table)
    if not page["data"]:
        note(f"There is no dataset yet: loupe dataset import {product or 'PRODUCT'} FOLDER")


@app.command("show")
def show_dataset(dataset: DatasetId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Show one dataset."""
    answer = Client(server).get(f"/datasets/{quoted(dataset)}")
    if as_json:
        say_json(answer)
        return
    counts = answer["counts"] or {}
    show_fields(
        {
            "id": answer["id"],
            "product": answer["product"],
            "status": answer["status"],
            "source": answer["source"],
            "new version of": answer.get("based_on"),
            "images": _number(answer["items"]) or None,
            "classes": join_counts(answer["classes"], at_most=40) or None,
            "came split": ", ".join(f"{name} {count:,}" for name, count in counts.items() if count) or None,
            "left out": answer["skipped"] or None,
            "examined by": (answer.get("examination") or {}).get("network"),
            "digest": answer["digest"],
            "import job": answer["job"],
            "created": format_time(answer["created_at"]),
        }
    )
    if answer["error"]:
        say_problem(answer["error"])


@app.command("report")
def show_report(dataset: DatasetId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Show what the import saw: counts, sizes, files left out, duplicates, and advice.

    Then what the examination of the images found: those that show the same thing, labels that look wrong, and
    images unlike all others of their class.
    """
    client = Client(server)
    answer = client.get(f"/datasets/{quoted(dataset)}/report")
    if as_json:
        say_json(answer)
    else:
        show_import_report(answer)
        if client.get(f"/datasets/{quoted(dataset)}")["examination"]:
            dataset_examination.show_examination(client.get(f"/datasets/{quoted(dataset)}/examination"))


@app.command(
    "export",
    epilog=examples(
        "loupe dataset export dst_… --format tfrecord --image-size 224 --to screws.tar",
        "loupe dataset export dst_… --split 70/15/15 --seed 0 --to screws.tar",
        "loupe dataset export dst_… --format folders --job job_… --to screws.tar",
    ),
)
def export_dataset(
    dataset: DatasetId,
    to: Annotated[Path, typer.Option("--to", metavar="FILE", help="The tar file to write.")],
    kind: Annotated[
        Literal["folders", "tfrecord"],
        typer.Option("--format", help="The original files in folders, or TFRecord files of resized ones."),
    ] = "folders",
    image_size: Annotated[
        str | None, typer.Option("--image-size", metavar="N|HxW", help="tfrecord: size in pixels.")
    ] = None,
    compression: Annotated[
        Literal["none", "gzip"], typer.Option("--compression", help="tfrecord: compression of the files.")
    ] = "none",
    job: Annotated[
        str | None, typer.Option("--job", help="Divide into train, valid and test as this training did.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="TRAIN/VALID/TEST",
            help="Divide by shares: percentages that add up to 100, or else numbers of images. Each class "
            "is divided alike; copies stay together.",
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="With --split: another seed, another division. [0]")
    ] = None,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Export a dataset as a tar of class folders, or of TFRecord files."""
    require_target(to, "Give --to a file's name, for example screws.tar.")
    if seed is not None and split is None:
        raise CommandError("--seed is of a split.", hint="Add --split, for example --split 70/15/15.")
    client = Client(server)
    path = f"/datasets/{quoted(dataset)}/exports"
    wanted = {
        "format": kind,
        "image_size": None if image_size is None else parse_value(image_size),
        "compression": None if compression == "none" else compression,
        "job": job,
        "split": None if split is None else parse_shares(split, seed=seed),
    }
    export = client.post(path, {name: value for name, value in wanted.items() if value is not None})
    require_success(follow_job(client, export["id"], label="exporting"))
    written = download(client, f"{path}/{export['id']}", to)
    say(f"{to}: {format_bytes(written)}")


@app.command("delete", epilog=examples("loupe dataset delete dst_…", "loupe dataset delete dst_… --force"))
def delete_dataset(
    dataset: DatasetId,
    force: Annotated[
        bool, typer.Option("--force", help="Delete its ended trainings too, with their models.")
    ] = False,
    yes: Yes = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Delete a dataset and the images that no other one has; refused if something depends on it.

    Also with --force it is refused while a job on it has not ended, or an alias points at one of its models.
    """
    client = Client(server)
    path = f"/datasets/{quoted(dataset)}"
    found = client.get(path)
    jobs = [job for job in list_jobs(client, found["product"]) if (job["dataset"] or {}).get("id") == dataset]
    parts = [*([count(found["items"], "image", "images")] if found["items"] else []), *count_jobs(jobs)]
    contents = f" with {', '.join(parts)}" if parts else ""
    confirm(f"Delete dataset {dataset} ({found['source']}){contents}?", force=force, yes=yes)
    client.delete(path, force=force or None)
    say(f"Dataset {dataset} is deleted{contents}.")


def _list_of(client: Client, product: str, limit: int) -> dict[str, Any]:
    return client.list_rows(f"/products/{quoted(product)}/datasets", limit)


def _list_all(client: Client, limit: int) -> dict[str, Any]:
    """One page of every product's datasets; the API lists those of one product at a time."""
    products = client.list_rows("/products", sys.maxsize)["data"]
    pages = [_list_of(client, product["id"], limit) for product in products]
    rows = [row for page in pages for row in page["data"]]
    rows.sort(key=lambda row: str(row["created_at"]), reverse=True)
    has_more = len(rows) > limit or any(page["has_more"] for page in pages)
    return {"data": rows[:limit], "has_more": has_more, "next_cursor": None}


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
