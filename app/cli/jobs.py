"""``loupe train`` and ``loupe job``"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from app.cli import job_verbs
from app.cli.assignments import parse_assignments, parse_value
from app.cli.client import Client, quoted
from app.cli.console import (
    add_row,
    format_age,
    format_estimate,
    format_seconds,
    format_time,
    make_table,
    note,
    out,
    printable,
    say,
    say_json,
    say_problem,
    show,
    show_fields,
)
from app.cli.follow import follow_job
from app.cli.job_verbs import JobId
from app.cli.options import DEFAULT_SERVER, AsJson, Limit, Server, examples
from app.cli.reports import summarise_metrics

app = typer.Typer(
    no_args_is_help=True, help="Jobs: trainings, and the imports, evaluations and exports around them."
)

LogName = Literal["training_result.log", "training_result_step.log", "test_result.log"]


def train(
    product: Annotated[str, typer.Argument(metavar="PRODUCT", help="Id of the product.")],
    network: Annotated[
        str | None,
        typer.Option("--network", help="A network of `loupe networks`; the product's default if not given."),
    ] = None,
    dataset: Annotated[
        str | None, typer.Option("--dataset", help="Id of a dataset; the newest if not given.")
    ] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", help="Passes over the train split.")] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Pictures in one step.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Peak learning rate.")
    ] = None,
    image_size: Annotated[
        str | None, typer.Option("--image-size", metavar="N|HxW", help="Input size in pixels.")
    ] = None,
    min_accuracy: Annotated[
        float | None, typer.Option("--min-accuracy", help="Test accuracy under which no model is saved.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of weights, order, augmentation, split.")
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "gpu"] | None,
        typer.Option("--device", help="What to train on; auto takes a GPU where the worker has one."),
    ] = None,
    gpus: Annotated[
        int | None, typer.Option("--gpus", min=1, help="GPUs of one machine to divide each batch among.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting; may be given often."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Watch the training to its end.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show every setting and start nothing.")] = False,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """Train a network on a product's pictures.

    Settings that are not given have defaults; --dry-run shows them all.
    With --follow, Ctrl-C leaves the training running, and the status is 1 unless a model came out.
    """
    hyperparameters, split = parse_assignments(settings or [])
    flags = {
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "image_size": None if image_size is None else parse_value(image_size),
        "min_accuracy": min_accuracy,
        "seed": seed,
    }
    hyperparameters |= {name: value for name, value in flags.items() if value is not None}
    body: dict[str, Any] = {"product": product, "hyperparameters": hyperparameters}
    if split:
        body["split"] = split
    if network is not None:
        body["network"] = network
    if dataset is not None:
        body["dataset"] = dataset
    if device is not None:
        body["device"] = device
    if gpus is not None:
        body["gpus"] = gpus
    client = Client(server)
    answer = client.post("/jobs", body, dry_run=dry_run or None)
    if dry_run:
        if as_json:
            say_json(answer)
        else:
            _show_plan(answer)
        return
    if not follow:
        if as_json:
            say_json(answer)
            return
        say(answer["id"])
        note(f"Watch it: loupe job follow {answer['id']}")
        return
    note(f"{answer['id']}: {answer['network']} on {answer['dataset']['id']}")
    finish_job(client, follow_job(client, answer["id"]), as_json=as_json)


train_epilog = examples(
    "loupe train screws --network mobilenet_v2 --image-size 96 --epochs 20 --follow",
    "loupe train screws --set augmentation=strong --set early_stopping.patience=5",
    "loupe train screws --device gpu --gpus 2 --batch-size 64",
    "loupe train screws --set split.train=0.8 --set split.valid=0.1 --set split.test=0.1 --dry-run",
)


@app.command("list")
def list_jobs(
    product: Annotated[str | None, typer.Option("--product", help="Only jobs of this product.")] = None,
    status: Annotated[
        Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"] | None,
        typer.Option("--status", help="Only jobs in this state."),
    ] = None,
    kind: Annotated[
        Literal["training", "import", "evaluation", "export"] | None,
        typer.Option("--kind", help="Only jobs of this kind."),
    ] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List jobs, newest first."""
    page = Client(server).list_rows("/jobs", limit, product=product, status=status, kind=kind)
    if as_json:
        say_json(page)
        return
    table = make_table("!id", "!kind", "!status", "product", "network", ">progress", ">best", ">age")
    for job in page["data"]:
        best = job["best"]
        add_row(
            table,
            job["id"],
            job["kind"],
            job["stage"] if job["status"] == "running" and job["stage"] else job["status"],
            job["product"],
            job["network"] or "",
            f"{job['progress']['fraction']:.0%}",
            f"{best['value']:.4f}" if best else "",
            format_age(job["created_at"]),
        )
    show(table)
    if page["has_more"]:
        note("There are more: --limit")


@app.command("show")
def show_job(job: JobId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Show one job: state, progress, settings, result."""
    client = Client(server)
    answer = client.get(f"/jobs/{quoted(job)}")
    if as_json:
        say_json(answer)
        return
    _show_job(answer)
    if answer["kind"] == "training" and answer["status"] == "succeeded":
        test = client.get(f"/jobs/{quoted(job)}/metrics", max_points=2)["test"]
        if test:
            say()
            show_fields(summarise_metrics(test["items"], test, "test"))


@app.command("follow")
def follow(job: JobId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Watch a job to its end. Ctrl-C leaves the job running."""
    client = Client(server)
    finish_job(client, follow_job(client, job), as_json=as_json)


app.command("stop")(job_verbs.stop_job)
app.command("pause")(job_verbs.pause_job)
app.command("resume")(job_verbs.resume_job)
app.command("cancel")(job_verbs.cancel_job)
app.command("retry")(job_verbs.retry_job)
app.command("delete")(job_verbs.delete_job)


@app.command(
    "metrics",
    epilog=examples(
        "loupe job metrics job_… --csv > epochs.csv", "loupe job metrics job_… --series steps --csv"
    ),
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


@app.command(
    "logs",
    epilog=examples(
        "loupe job logs job_…", "loupe job logs job_… training_result_step.log --tail 20 --follow"
    ),
)
def show_log(
    job: JobId,
    name: Annotated[
        LogName,
        typer.Argument(
            metavar="[NAME]", help="training_result.log, training_result_step.log or test_result.log."
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


@app.command("events")
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
        data = ", ".join(f"{name}={_flat(value)}" for name, value in event["data"].items())
        add_row(table, event["number"], format_time(event["created_at"]), event["type"], data)
    show(table)


def finish_job(client: Client, job: dict[str, Any], *, as_json: bool = False) -> None:
    """Prints a job's end; the command fails unless the job gave what it was for."""
    if as_json:
        say_json(job)
    else:
        show_end(client, job)
        if job["model"]:
            note(f"Per class: loupe evaluate {job['id']}    Use it: loupe predict {job['product']} PICTURE…")
    if job["status"] != "succeeded" or (job["kind"] == "training" and job["model"] is None):
        raise typer.Exit(1)


def show_end(client: Client, job: dict[str, Any]) -> None:
    """How a job ended; of a training its test result and its model."""
    if job["error"]:
        say_problem(job["error"])
        return
    reason = (job["stop_reason"] or "").replace("_", " ")
    say(
        f"{job['id']} {job['status']}{f' ({reason})' if reason and reason != 'completed' else ''}",
        style="bold",
    )
    if job["kind"] != "training" or job["status"] != "succeeded":
        return
    fields: dict[str, object] = {}
    if best := job["best"]:
        fields["best epoch"] = f"{best['epoch']}, {best['metric']} {best['value']:.4f}"
    if test := client.get(f"/jobs/{quoted(job['id'])}/metrics", max_points=2)["test"]:
        fields |= summarise_metrics(test["items"], test, "test")
    if job["model"]:
        model = client.get(f"/models/{quoted(job['model'])}")
        champion = f", champion of {model['product']}" if "champion" in model["aliases"] else ""
        fields["model"] = f"{model['id']}, version {model['version']}{champion}"
    show_fields(fields)
    for reason in (job["gate"] or {}).get("reasons", []):
        say(reason, style="yellow")


def _show_plan(plan: dict[str, Any]) -> None:
    counts = plan["split"]["counts"]
    show_fields(
        {
            "product": plan["product"],
            "dataset": plan["dataset"]["id"],
            "network": plan["network"],
            "split": ", ".join(f"{name} {count:,}" for name, count in counts.items()),
            "device": _describe_device(plan),
        }
    )
    say()
    show_fields({name: _flat(value) for name, value in plan["hyperparameters"].items()})
    note("Nothing was started.")


def _show_job(job: dict[str, Any]) -> None:
    progress, best = job["progress"], job["best"]
    counts = (job["split"] or {}).get("counts") or {}
    show_fields(
        {
            "id": job["id"],
            "kind": job["kind"],
            "status": job["status"],
            "waits for": job["waits_for"],
            "stage": job["stage"],
            "stop reason": job["stop_reason"],
            "product": job["product"],
            "dataset": job["dataset"]["id"],
            "network": job["network"],
            "device": _describe_device(job) if job["kind"] == "training" else None,
            "progress": f"{progress['fraction']:.0%}"
            + (f", epoch {progress['epoch']}/{progress['epochs']}" if progress["epoch"] else "")
            + (f", {format_seconds(progress['eta_seconds'])} left" if progress["eta_seconds"] else ""),
            "best": f"epoch {best['epoch']}, {best['metric']} {best['value']:.4f}" if best else None,
            "model": job["model"],
            "split": ", ".join(f"{name} {count:,}" for name, count in counts.items()) or None,
            "attempt": job["attempt"],
            "created": format_time(job["created_at"]),
            "started": format_time(job["started_at"]) or None,
            "finished": format_time(job["finished_at"]) or None,
            **{f"metadata.{printable(name)}": value for name, value in job["metadata"].items()},
        }
    )
    if job["hyperparameters"]:
        say()
        show_fields({name: _flat(value) for name, value in job["hyperparameters"].items()})
    for reason in (job["gate"] or {}).get("reasons", []):
        say(reason, style="yellow")
    if job["error"]:
        say_problem(job["error"])


def _describe_device(job: dict[str, Any]) -> str:
    """What a training asks for, and what it ran on."""
    asked = job["device"] if job["gpus"] == 1 else f"{job['gpus']} GPUs"
    ran_on = job.get("ran_on")
    return f"{asked}, ran on {', '.join(ran_on['names'])}" if ran_on else asked


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}:{_flat(entry)}" for name, entry in value.items())
    if isinstance(value, float):
        return f"{value:.6g}"
    return "-" if value is None else str(value)


def _number(value: Any) -> str:
    return f"{value:.5g}" if isinstance(value, float) else "" if value is None else str(value)
