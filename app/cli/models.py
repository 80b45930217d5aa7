"""``loupe model``"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Annotated

import typer

from app.cli.client import Client, CommandError, quoted
from app.cli.console import (
    add_row,
    bytes_progress,
    format_age,
    format_bytes,
    format_time,
    make_table,
    note,
    say,
    say_json,
    show,
    show_fields,
)
from app.cli.follow import follow_job
from app.cli.job_end import require_success
from app.cli.options import DEFAULT_SERVER, AsJson, Limit, Server, examples
from app.cli.packing import read_chunks
from app.cli.promises import explain_promise
from app.cli.reports import summarise_metrics
from app.cli.transfers import counted, download, require_target
from app.errors import InvalidRequestError
from app.schemas.model_formats import MODEL_FORMATS, FormatName

app = typer.Typer(no_args_is_help=True, help="Models: what trainings have made.")

_MOST_TRANSFER_BYTES = 2**24
ModelId = Annotated[str, typer.Argument(metavar="MODEL", help="Id of the model, mdl_…")]


@app.command("list")
def list_models(
    product: Annotated[str | None, typer.Option("--product", help="Only models of this product.")] = None,
    job: Annotated[str | None, typer.Option("--job", help="Only the model of this job.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List models, newest first."""
    page = Client(server).list_rows("/models", limit, product=product, job=job)
    if as_json:
        say_json(page)
        return
    table = make_table(
        "!id",
        "product",
        ">version",
        "network",
        ">accuracy",
        "gate",
        "aliases",
        ">size",
        ">age",
        drops=("size", "age", "network", "gate", "product"),
    )
    for model in page["data"]:
        add_row(
            table,
            model["id"],
            model["product"],
            model["version"],
            model["network"],
            f"{model['metrics']['accuracy']['value']:.4f}",
            "passed" if model["passed_gate"] else "failed",
            ", ".join(model["aliases"]),
            format_bytes(model["bytes"]),
            format_age(model["created_at"]),
        )
    show(table)
    if not page["data"]:
        note("There is no model yet: loupe train PRODUCT --follow")


@app.command("show")
def show_model(
    model: ModelId,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Show one model: where it comes from, how it measured, how it is served."""
    answer = Client(server).get(f"/models/{quoted(model)}")
    if as_json:
        say_json(answer)
        return
    serving, origin = answer["serving"], answer.get("origin")
    show_fields(
        {
            "id": answer["id"],
            "product": f"{answer['product']}, version {answer['version']}",
            "gate": "passed" if answer["passed_gate"] else "failed; the model is kept for a while",
            "aliases": ", ".join(answer["aliases"]) or None,
            "origin": None
            if origin is None
            else f"{origin['model']}, version {origin['version']} of {origin['product']} on another Loupe",
            "job": answer["job"],
            "dataset": answer["dataset"],
            "network": answer["network"],
            "labels": ", ".join(answer["labels"]),
            "size": format_bytes(answer["bytes"]),
            "serving": " ".join(str(serving[name]) for name in ("runtime", "precision") if name in serving),
            "digest": answer["digest"],
            "weights": answer["weights_sha256"],
            "created": format_time(answer["created_at"]),
        }
    )
    say()
    show_fields(summarise_metrics(answer["metrics"].get("items"), answer["metrics"], "test"))
    say()
    for line in explain_promise(answer):
        note(line)


@app.command(
    "download",
    epilog=examples(
        "loupe model download mdl_…",
        "loupe model download mdl_… --format tflite --output screws.tflite",
    ),
)
def download_model(
    model: ModelId,
    wanted: Annotated[
        FormatName,
        typer.Option(
            "--format", help="; ".join(f"{one.name}: {one.runs_with}" for one in MODEL_FORMATS.values())
        ),
    ] = "zip",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="A file or a folder; if not given, PRODUCT-VERSION here."
        ),
    ] = None,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Download a model: the whole artifact as a zip, or one file. What a worker has to make is made first."""
    client = Client(server)
    path = f"/models/{quoted(model)}"
    target = output or Path()
    if target.is_dir():
        found = client.get(path)
        target /= MODEL_FORMATS[wanted].file_name(found["product"], found["version"])
    require_target(target, "Give --output a file's name.")
    if MODEL_FORMATS[wanted].is_made:
        job = client.post(f"{path}/exports", {"format": wanted})
        require_success(follow_job(client, job["id"], label=f"making {wanted}"))
    written = download(client, f"{path}/artifact", target, format=wanted)
    say(f"{target}: {format_bytes(written)}")


@app.command(
    "import",
    epilog=examples("loupe model import screws-3.zip", "loupe model import screws-3.zip --product bolts"),
)
def import_model(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", exists=True, dir_okay=False, help="A zip that `loupe model download` has written."
        ),
    ],
    product: Annotated[
        str | None,
        typer.Option("--product", help="Id of the product here; if not given, the one it comes from."),
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait for the import's end.")] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Import a model of another Loupe. It needs a key with the scope admin.

    The server builds it anew, and compares its answers with those that the zip has. No alias points at it.
    """
    client = Client(server)
    product = product or _product_in(file)
    size = file.stat().st_size
    with file.open("rb") as source, bytes_progress() as progress:
        bar = progress.add_task("sending", total=size)
        job = client.upload(
            f"/products/{quoted(product)}/models",
            counted(read_chunks(source), progress, bar),
            size=size,
            media_type="application/zip",
            name=file.name,
        )
    if no_wait:
        say_json(job) if as_json else say(job["id"])
        return
    job = follow_job(client, job["id"], label="importing")
    require_success(job)
    model = client.get(f"/models/{quoted(job['model'])}")
    if as_json:
        say_json(model)
        return
    say(f"{model['id']}, version {model['version']} of {product}")
    note(f"No alias points at it. To have it answer: loupe promote {product} {model['id']}")


def _product_in(file: Path) -> str:
    """The product that the model comes from, as its zip says."""
    # Here: the other commands need not wait for NumPy and Pydantic.
    from app.artifacts.archive import TRANSFER, Transfer
    from app.schemas.message import parse_message

    try:
        with zipfile.ZipFile(file) as archive, archive.open(TRANSFER) as entry:
            return parse_message(Transfer, entry.read(_MOST_TRANSFER_BYTES), TRANSFER).product
    except (zipfile.BadZipFile, KeyError, InvalidRequestError) as error:
        raise CommandError(
            f"{file} is no zip of a model: {error}.",
            hint="Give a zip that `loupe model download` has written, or a --product.",
        ) from error
