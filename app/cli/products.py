"""``loupe product``"""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from app.cli.client import Client, CommandError, ServerError, quoted
from app.cli.console import (
    add_row,
    format_age,
    format_time,
    make_table,
    note,
    say,
    say_json,
    show,
    show_fields,
)
from app.cli.deletions import confirm, count_jobs, list_jobs
from app.cli.gates import MaxBytes, MaxMilliseconds, MinAccuracy, MinRecall, describe_limits, read_rules
from app.cli.options import DEFAULT_SERVER, AsJson, Limit, Server, Yes, examples
from app.cli.promises import promise_text
from app.words import count

app = typer.Typer(no_args_is_help=True, help="Products: each has its own images, trainings and models.")

ProductId = Annotated[str, typer.Argument(metavar="PRODUCT", help="Id of the product.")]
Name = Annotated[str | None, typer.Option("--name", help="A name for people.")]
Network = Annotated[str | None, typer.Option("--network", help="Network of trainings that name none.")]
MaxError = Annotated[
    float | None,
    typer.Option(
        "--max-error", help="Share of accepted answers that may be wrong, such as 0.01; others are rejected."
    ),
]


@app.command(
    "create", epilog=examples("loupe product create screws --name 'Screws, line 2' --min-accuracy 0.95")
)
def create_product(
    product: ProductId,
    name: Name = None,
    network: Network = None,
    min_accuracy: MinAccuracy = None,
    min_recall: MinRecall = None,
    max_bytes: MaxBytes = None,
    max_milliseconds: MaxMilliseconds = None,
    max_error: MaxError = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Make a product."""
    gate = read_rules(min_accuracy, min_recall, max_bytes, max_milliseconds, is_new=True)
    body = {"id": product, **_changes(name, network, gate, max_error)}
    answer = Client(server).post("/products", body)
    if as_json:
        say_json(answer)
        return
    say(f"Product {answer['id']} is there.")
    note(f"Next, its images: loupe dataset import {answer['id']} FOLDER")


@app.command("list")
def list_products(limit: Limit = 100, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """List the products, newest first."""
    page = Client(server).list_rows("/products", limit)
    if as_json:
        say_json(page)
        return
    table = make_table(
        "!id",
        "name",
        "champion",
        "network",
        ">min accuracy",
        ">age",
        drops=("age", "min accuracy", "network", "name"),
    )
    for entry in page["data"]:
        minimum = entry["gate"]["min_accuracy"]
        add_row(
            table,
            entry["id"],
            entry["name"],
            entry["champion"] or "-",
            entry["default_network"] or "-",
            "-" if minimum is None else minimum,
            format_age(entry["created_at"]),
        )
    show(table)
    if not page["data"]:
        note("There is no product yet: loupe product create NAME")


@app.command("show")
def show_product(product: ProductId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Show one product and its champion, the model that answers predictions."""
    client = Client(server)
    answer = client.get(f"/products/{quoted(product)}")
    if as_json:
        say_json(answer)
        return
    _show(answer, asked_about=_describe_days(client, product))


@app.command(
    "update",
    epilog=examples(
        "loupe product update screws --min-accuracy 0.97",
        "loupe product update screws --min-recall crack=0.99 --max-bytes 20MB --max-milliseconds 15",
    ),
)
def update_product(
    product: ProductId,
    name: Name = None,
    network: Network = None,
    min_accuracy: MinAccuracy = None,
    min_recall: MinRecall = None,
    max_bytes: MaxBytes = None,
    max_milliseconds: MaxMilliseconds = None,
    max_error: MaxError = None,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Change a product's name, default network, gate or promise."""
    gate = read_rules(min_accuracy, min_recall, max_bytes, max_milliseconds, is_new=False)
    changes = _changes(name, network, gate, max_error)
    if not changes:
        raise CommandError(
            "Nothing to change.",
            hint="Give --name, --network, --min-accuracy, --min-recall, --max-bytes, --max-milliseconds or "
            "--max-error.",
        )
    answer = Client(server).patch(f"/products/{quoted(product)}", changes)
    if as_json:
        say_json(answer)
    else:
        _show(answer)


@app.command("delete", epilog=examples("loupe product delete screws", "loupe product delete screws --force"))
def delete_product(
    product: ProductId,
    force: Annotated[
        bool,
        typer.Option("--force", help="Delete its datasets, jobs and models too, the champion with them."),
    ] = False,
    yes: Yes = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Delete a product that has no datasets and no jobs; with --force whatever it has.

    Also with --force it is refused while one of its jobs has not ended.
    """
    client = Client(server)
    path = f"/products/{quoted(product)}"
    contents = ""
    if force:
        datasets = client.list_rows(f"{path}/datasets", sys.maxsize)["data"]
        parts = [count(len(datasets), "dataset", "datasets"), *count_jobs(list_jobs(client, product))]
        contents = f" with {', '.join(parts)}"
    question = f"Delete product {product}{contents}?"
    confirm(question, force=force, yes=yes, name=product if force else None)
    client.delete(path, force=force or None)
    say(f"Product {product} is deleted{contents}.")


def _describe_days(client: Client, product: str) -> str | None:
    """What was asked today and in a week; None of a server that does not count."""
    try:
        days = client.get(f"/products/{quoted(product)}/prediction-counts", days=7)["data"]
    except ServerError as error:
        if error.problem["status"] == 404:
            return None
        raise
    total, rejected = (sum(day[name] for day in days) for name in ("images", "rejected"))
    said = f"{count(days[-1]['images'], 'image', 'images')} today, {total:,} in 7 days"
    return f"{said}, of which {rejected:,} rejected" if rejected else said


def _changes(
    name: str | None, network: str | None, gate: dict[str, Any], max_error: float | None
) -> dict[str, Any]:
    promise = None if max_error is None else {"max_error": max_error}
    given = {"name": name, "default_network": network, "gate": gate or None, "promise": promise}
    return {key: value for key, value in given.items() if value is not None}


def _show(product: dict[str, Any], asked_about: str | None = None) -> None:
    show_fields(
        {
            "id": product["id"],
            "name": product["name"],
            "champion": product["champion"] or "none yet",
            "network": product["default_network"],
            "min accuracy": product["gate"]["min_accuracy"],
            "gate": "; ".join(describe_limits(product["gate"])) or None,
            "promise": promise_text(product["promise"]["max_error"]),
            "asked about": asked_about,
            "created": format_time(product["created_at"]),
        }
    )
