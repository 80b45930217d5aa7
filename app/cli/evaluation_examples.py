"""``loupe job examples``: which images a model answered how."""

from __future__ import annotations

from typing import Annotated

import typer

from app.cli.client import Client, quoted
from app.cli.console import add_row, make_table, note, say_json, show
from app.cli.job_verbs import JobId
from app.cli.options import DEFAULT_SERVER, AsJson, Limit, Server, examples

examples_epilog = examples(
    "loupe job examples job_… --mistakes",
    "loupe job examples job_… --true scratch --predicted dent",
)


def show_examples(
    job: JobId,
    true: Annotated[str | None, typer.Option("--true", help="Only images of this class.")] = None,
    predicted: Annotated[
        str | None, typer.Option("--predicted", help="Only images that were answered with this class.")
    ] = None,
    right: Annotated[
        bool | None,
        typer.Option("--right/--mistakes", help="Only images that were answered rightly, or not."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Of the evaluation on this dataset instead.")
    ] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List the images of a model's evaluation with their answers, the surest first."""
    page = Client(server).list_rows(
        f"/jobs/{quoted(job)}/evaluation/examples",
        limit,
        true=true,
        predicted=predicted,
        right=right,
        dataset=dataset,
    )
    if as_json:
        say_json(page)
        return
    if not page["data"]:
        note("No image was answered so.")
        return
    table = make_table("!item", "name", "true", "predicted", ">probability")
    for row in page["data"]:
        add_row(table, row["item"], row["name"], row["true"], row["predicted"], f"{row['probability']:.4f}")
    show(table)
    if page["has_more"]:
        note("There are more: --limit.")
