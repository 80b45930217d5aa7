"""Watching a job to its end: a bar, a line per epoch, and how to come back after Ctrl-C."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import typer
from rich.progress import Progress
from rich.text import Text

from app.cli.client import Client, UnreachableError, quoted
from app.cli.commands import for_terminal
from app.cli.console import format_seconds, note, printable, say_above, work_progress
from app.cli.job_states import describe_wait

POLL_SECONDS = 0.4
AT_REST = frozenset({"succeeded", "failed", "cancelled", "paused"})
DETACHED = 130


def follow_job(client: Client, job_id: str, *, label: str | None = None) -> dict[str, Any]:
    """Shows a job until it has ended, and returns it. Ctrl-C leaves the job alone and ends the command."""
    try:
        return watch_job(client, job_id, label=label)
    except KeyboardInterrupt:
        note(f"Detached; {job_id} goes on.", style=None)
        note(f"Follow it again: loupe job follow {job_id}    End it: loupe job cancel {job_id}")
        raise typer.Exit(DETACHED) from None
    except UnreachableError:
        note(f"{job_id} is kept. Once the server answers again: loupe job follow {job_id}", style=None)
        raise


def watch_job(client: Client, job_id: str, *, label: str | None = None) -> dict[str, Any]:
    """Shows a job until it has ended, and returns it."""
    with work_progress() as progress:
        return _watch(client, job_id, progress, label)


def _watch(client: Client, job_id: str, progress: Progress, label: str | None) -> dict[str, Any]:
    path = f"/jobs/{quoted(job_id)}"
    bar = progress.add_task(label or job_id, total=None, detail="")
    after = 0
    while True:
        # The state before the events: when it is an end, then the events read after it are all there are.
        job: dict[str, Any] = client.get_patiently(path)
        while True:
            page = client.get_patiently(f"{path}/events", after=after)
            for event in page["data"]:
                after = event["number"]
                if (line := describe_event(event, job)) is not None:
                    say_above(progress, line)
            if not page["has_more"]:
                break
        state = _bar_state(job, label)
        # `update` takes None for "as before"; here it means a bar without an end.
        progress.tasks[bar].total = state.pop("total")
        progress.update(bar, **state)
        if job["status"] in AT_REST:
            return job
        time.sleep(POLL_SECONDS)


def describe_event(event: Mapping[str, Any], job: Mapping[str, Any]) -> Text | None:
    """The line for an event that a person wants to see, else None."""
    data = event["data"]
    match event["type"]:
        case "epoch":
            return describe_epoch(data, (job["hyperparameters"] or {}).get("epochs"))
        case "warning":
            return Text(f"warning: {printable(for_terminal(str(data.get('message', ''))))}", style="yellow")
        case "resumed":
            return Text(f"goes on after step {data.get('step')}", style="yellow")
        case "status" if data.get("status") == "queued" and "reason" in data:
            return Text(
                f"queued again: {printable(str(data.get('detail') or data['reason']))}", style="yellow"
            )
    return None


def describe_epoch(epoch: Mapping[str, Any], epochs: int | None) -> Text:
    """``epoch  3/20  train loss 0.1234  accuracy 0.9560  valid loss 0.2000  accuracy 0.9410  1.2 s  best``"""
    of = f"/{epochs}" if epochs else ""
    line = Text(f"epoch {epoch['epoch']:>{len(of) - 1 if of else 1}}{of}")
    for part in ("train", "valid"):
        scores = epoch.get(part)
        if scores:
            line.append(f"  {part} loss ", style="dim").append(f"{scores['loss']:.4f}")
            line.append(" accuracy ", style="dim").append(f"{scores['accuracy']:.4f}")
    line.append(f"  {format_seconds(epoch['seconds'])}", style="dim")
    if epoch["best"]:
        line.append("  best", style="green")
    return line


def _bar_state(job: Mapping[str, Any], label: str | None) -> dict[str, Any]:
    progress, stage = job["progress"], job["stage"]
    state: dict[str, Any] = {
        "description": label or job["id"],
        "total": None,
        "detail": stage or job["status"] + (f": {wait}" if (wait := describe_wait(job)) else ""),
    }
    if job["status"] in AT_REST:
        state |= {"completed": 1.0, "total": 1.0}
    elif stage == "training":
        speed, eta = progress.get("images_per_second"), progress.get("eta_seconds")
        details = [
            f"epoch {progress['epoch']}/{progress['epochs']}" if progress.get("epoch") else "starting",
            f"{speed:,.0f} images/s" if speed else "",
            f"{format_seconds(eta)} left" if eta is not None else "",
        ]
        state |= {"completed": progress["fraction"], "total": 1.0, "detail": "  ".join(filter(None, details))}
    elif progress.get("total") and progress["done"] < progress["total"]:
        counts = f"{progress['done']:,}/{progress['total']:,}"
        state |= {
            "completed": progress["done"],
            "total": progress["total"],
            "detail": f"{state['detail']}  {counts}",
        }
    return state
