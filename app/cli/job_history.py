"""``loupe job metrics|logs|events``: what a job has written so far."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from app.cli.client import Client, quoted
from app.cli.console import (
    add_row,
    format_estimate,
    format_setting,
    format_time,
    make_table,
    note,
    out,
    say,
    say_json,
    show,
)
from app.cli.job_verbs import JobId
from app.cli.options import DEFAULT_SERVER, AsJson, Server, examples

LogName = Literal["training_result.log", "training_result_step.log", "test_result.log"]

metrics_epilog = examples(
    "loupe job metrics job_… --csv > epochs.csv", "loupe job metrics job_… --series steps --csv"
)
logs_epilog = examples(
    "loupe job logs job_…", "loupe job logs job_… training_result_step.log --tail 20 --follow"
)


def show_metrics(
    job: JobId,
    series: Annotated[Literal["epochs", "steps"], typer.Option("--series", help="Which series.")] = "epochs",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Show the series of a training so far."""
    client, path = Client(server), f"/jobs/{quoted(job)}/metrics"
    if as_csv:
        out.file.write(client.get_text(path, "text/csv", series=series, max_points=100_000))
        return
    answer = client.get(path)
    if as_json:
        say_json(answer)
        return
    rows = answer[series]
    if not rows:
        note(f"{job} is {answer['status']} and has no {series} yet.")
        return
    names = [name for name in rows[0] if name != "is_best"]
    table = make_table(*(f">{name.replace('_', ' ')}" for name in names), "")
    for row in rows:
        add_row(table, *(_number(row[name]) for name in names), "best" if row.get("is_best") else "")
    show(table)
    if answer["best"]:
        say(
            f"best: epoch {answer['best']['epoch']}, {answer['best']['metric']} {answer['best']['value']:.4f}"
        )
    if answer["test"]:
        say(f"test accuracy: {format_estimate(answer['test']['accuracy'])}")


def show_log(
    job: JobId,
    name: Annotated[
        LogName,
        typer.Argument(
            metavar="NAME", help="training_result.log, training_result_step.log or test_result.log."
        ),
    ] = "training_result.log",
    tail: Annotated[int | None, typer.Option("--tail", min=1, help="Only the last lines.")] = None,
    follow_on: Annotated[bool, typer.Option("--follow", help="Go on until the job has ended.")] = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Print a log of a training."""
    client, path = Client(server), f"/jobs/{quoted(job)}/logs/{name}"
    if not follow_on:
        text = client.get_text(path, "text/plain", tail=tail)
        out.file.write(text)
        if not text:
            note(f"{name} is empty.")
        return
    try:
        with client.stream(path, tail=tail, follow=True) as response:
            for text in response.iter_text():
                out.file.write(text)
                out.file.flush()
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def show_events(
    job: JobId,
    after: Annotated[int, typer.Option("--after", min=0, help="Only events after this number.")] = 0,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List what happened to a job."""
    client, path = Client(server), f"/jobs/{quoted(job)}/events"
    events: list[dict[str, Any]] = []
    while True:
        page = client.get(path, after=after)
        events += page["data"]
        if not page["has_more"]:
            break
        after = page["next_cursor"]
    if as_json:
        say_json({**page, "data": events})
        return
    table = make_table(">#", "time", "event", "data")
    for event in events:
        data = ", ".join(f"{name}={format_setting(value)}" for name, value in event["data"].items())
        add_row(table, event["number"], format_time(event["created_at"]), event["type"], data)
    show(table)


def _number(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)
