"""How a job ended: what ``loupe train``, ``loupe job follow`` and ``loupe demo`` print last."""

from __future__ import annotations

from typing import Any

import typer

from app.cli.client import Client, quoted
from app.cli.console import note, say, say_json, say_problem, show_fields
from app.cli.job_states import describe_status
from app.cli.reports import summarise_metrics
from app.cli.training_findings import show_findings


def finish_job(client: Client, job: dict[str, Any], *, as_json: bool = False) -> None:
    """Prints a job's end; the command fails unless the job gave what it was for."""
    is_training = job["kind"] == "training"
    failed_gate = is_training and not (job["gate"] or {}).get("passed")
    if as_json:
        say_json(job)
    else:
        show_end(client, job)
        if job["status"] == "succeeded":
            show_findings(client, job, with_notes=False)
        if job["model"]:
            # No alias points at a model that failed its gate or was imported.
            by_id = failed_gate or not is_training
            address = f"{job['product']} --model {job['model']}" if by_id else job["product"]
            dataset = "" if is_training else " --dataset DATASET"
            note(f"Per class: loupe evaluate {job['id']}{dataset}    Use it: loupe predict {address} IMAGE…")
            if failed_gate:
                note(f"Promote it all the same: loupe promote {job['product']} {job['model']} --override")
    if job["status"] != "succeeded" or failed_gate:
        raise typer.Exit(1)


def show_end(client: Client, job: dict[str, Any]) -> None:
    """How a job ended; of a training its test result and its model."""
    if job["status"] != "succeeded":
        say_failure(job)
        return
    reason = (job["stop_reason"] or "").replace("_", " ")
    say(
        f"{job['id']} {describe_status(job)}{f' ({reason})' if reason and reason != 'completed' else ''}",
        style="bold",
    )
    if job["kind"] != "training":
        return
    fields: dict[str, object] = {}
    if best := job["best"]:
        fields["best epoch"] = f"{best['epoch']}, {best['metric']} {best['value']:.4f}"
    if test := client.get(f"/jobs/{quoted(job['id'])}/metrics", max_points=2)["test"]:
        fields |= summarise_metrics(test["items"], test, "test")
    if job["model"]:
        model = client.get(f"/models/{quoted(job['model'])}")
        fields["model"] = f"{model['id']}, version {model['version']}{describe_standing(model)}"
    show_fields(fields)
    for reason in (job["gate"] or {}).get("reasons", []):
        say(reason, style="yellow")


def require_success(job: dict[str, Any]) -> None:
    """Ends the command when a job that it needed did not succeed."""
    if job["status"] != "succeeded":
        say_failure(job)
        raise typer.Exit(1)


def say_failure(job: dict[str, Any]) -> None:
    """Which job did not succeed, whatever its kind, why, and what to do."""
    identifier, status = job["id"], job["status"]
    reason = (job.get("stop_reason") or "").replace("_", " ")
    what = f"The {job['kind']} {identifier} {'is' if status == 'paused' else 'was'} {status}"
    if status == "failed":
        what = f"The {job['kind']} {identifier} failed"
    note(f"{what}{f' ({reason})' if reason else ''}.", style="bold")
    error = job["error"]
    if error:
        say_problem(error)
    if job.get("sweep"):
        note(f"It is a candidate: loupe sweep show {job['sweep']}")
    elif status == "paused":
        note(f"Go on with it: loupe job resume {identifier}")
    elif status == "failed" and error and error["code"] == "choice_needed":
        note(f"JOB is {identifier}.")
    elif status == "failed":
        # Of what another attempt would not change the hint says what to do.
        again = f"    Try again: loupe job retry {identifier}" if error and error["retryable"] else ""
        note(f"What happened: loupe job events {identifier}{again}")


def describe_standing(model: dict[str, Any]) -> str:
    """What a model is to its product, to follow its name."""
    if "champion" in model["aliases"]:
        return f", champion of {model['product']}"
    return "" if model["passed_gate"] else ", kept although it failed its gate"
