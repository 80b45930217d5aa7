"""``loupe job``: its tree, and what it shows of jobs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from app.cli import evaluation_examples, job_history, job_verbs
from app.cli.client import Client, quoted
from app.cli.console import (
    add_row,
    format_age,
    format_seconds,
    format_setting,
    format_time,
    make_table,
    note,
    printable,
    say,
    say_json,
    say_problem,
    show,
    show_fields,
)
from app.cli.follow import follow_job
from app.cli.gates import describe_limits
from app.cli.job_end import finish_job
from app.cli.job_states import describe_progress, describe_status, describe_wait
from app.cli.job_verbs import JobId
from app.cli.options import DEFAULT_SERVER, AsJson, Limit, Server
from app.cli.reports import summarise_metrics
from app.cli.training_findings import show_findings
from app.schemas.job_kinds import JOB_KINDS

app = typer.Typer(no_args_is_help=True, help="Jobs: trainings, imports, evaluations, exports, predictions.")


@app.command("list")
def list_jobs(
    product: Annotated[str | None, typer.Option("--product", help="Only jobs of this product.")] = None,
    status: Annotated[
        Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"] | None,
        typer.Option("--status", help="Only jobs in this state."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--kind", metavar="KIND", help=f"Only jobs of this kind: {', '.join(JOB_KINDS)}."),
    ] = None,
    show_all: Annotated[
        bool, typer.Option("--all", help="Jobs of every kind: imports, evaluations, exports and others too.")
    ] = False,
    limit: Limit = 20,
    as_json: AsJson = False,
    server: Server = DEFAULT_SERVER,
) -> None:
    """List trainings, newest first; with --all or --kind other jobs."""
    is_usual = kind is None and not show_all
    asked = "training" if is_usual else kind
    page = Client(server).list_rows("/jobs", limit, product=product, status=status, kind=asked)
    if as_json:
        say_json(page)
        return
    kinds = () if is_usual else ("!kind",)
    table = make_table(
        *("!id", *kinds, "status", "product", "network", ">progress", ">best", ">age"),
        drops=("age", "best", "network", "progress", "product"),
    )
    for job in page["data"]:
        best = job["best"]
        add_row(
            table,
            job["id"],
            *([] if is_usual else [job["kind"]]),
            describe_status(job),
            job["product"],
            job["network"] or "",
            describe_progress(job),
            f"{best['value']:.4f}" if best else "",
            format_age(job["created_at"]),
        )
    show(table)
    if page["has_more"]:
        note("There are more: --limit")
    if is_usual:
        note("Imports, evaluations and the like: loupe job list --all")


@app.command("show")
def show_job(job: JobId, as_json: AsJson = False, server: Server = DEFAULT_SERVER) -> None:
    """Show one job: state, progress, settings, result; of a training what stands out in it."""
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
    show_findings(client, answer)


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
app.command("metrics", epilog=job_history.metrics_epilog)(job_history.show_metrics)
app.command("logs", epilog=job_history.logs_epilog)(job_history.show_log)
app.command("events")(job_history.show_events)
app.command("examples", epilog=evaluation_examples.examples_epilog)(evaluation_examples.show_examples)


def describe_device(job: dict[str, Any]) -> str:
    """What a training asks for, and what it ran on."""
    asked = job["device"] if job["gpus"] == 1 else f"{job['gpus']} GPUs"
    ran_on = job.get("ran_on")
    return f"{asked}, ran on {', '.join(ran_on['names'])}" if ran_on else asked


def describe_gate(rules: dict[str, Any]) -> str:
    """What a training's model must reach, and what becomes of one that does not."""
    kept = "kept" if rules["on_failure"] == "keep" else "not saved"
    reached = [f"test accuracy at least {rules['min_accuracy']:g}", *describe_limits(rules)]
    return f"{'; '.join(reached)}; or else the model is {kept}"


def describe_class_map(class_map: dict[str, Any] | None) -> str | None:
    """Which classes of its dataset a training learns; None where it learns them all as they are."""
    if class_map is None:
        return None
    parts = [f"{name} {', '.join(class_map[name])}" for name in ("keep", "drop") if class_map[name]]
    parts += [f"{', '.join(old)} become {new}" for new, old in class_map["merge"].items()]
    return "; ".join(parts) or None


def _show_job(job: dict[str, Any]) -> None:
    progress, best = job["progress"], job["best"]
    counts = (job["split"] or {}).get("counts") or {}
    show_fields(
        {
            "id": job["id"],
            "kind": job["kind"],
            "status": job["status"] if job["status"] in ("queued", "running") else describe_status(job),
            "waits for": describe_wait(job),
            "stage": job["stage"],
            "stop reason": job["stop_reason"],
            "product": job["product"],
            "dataset": (job["dataset"] or {}).get("id"),
            "tested on": (job.get("evaluation_dataset") or {}).get("id"),
            "classes": describe_class_map(job.get("class_map")),
            "network": job["network"],
            "device": describe_device(job) if job["kind"] == "training" else None,
            "progress": describe_progress(job)
            + (f", epoch {progress['epoch']}/{progress['epochs']}" if progress["epoch"] else "")
            + (f", {format_seconds(progress['eta_seconds'])} left" if progress["eta_seconds"] else ""),
            "best": f"epoch {best['epoch']}, {best['metric']} {best['value']:.4f}" if best else None,
            "gate": describe_gate(job["gate_rules"]) if job["gate_rules"] else None,
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
        show_fields({name: format_setting(value) for name, value in job["hyperparameters"].items()})
    for reason in (job["gate"] or {}).get("reasons", []):
        say(reason, style="yellow")
    if job["error"]:
        say_problem(job["error"])
