"""The words for how a job stands: the same in every list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.cli.commands import for_terminal


def describe_status(job: Mapping[str, Any]) -> str:
    """What a job does or how it ended; a training without a model has not simply succeeded.

    ``succeeded, no model``: its gate discarded the model, or the model was removed since.
    ``succeeded, below gate``: the model is kept, and no alias points at it.
    """
    status = str(job["status"])
    if status == "running":
        return job["stage"] or status
    if status == "queued" and job.get("place"):
        return f"queued, place {job['place']}"
    if status == "succeeded" and job["kind"] == "training":
        if job["model"] is None:
            return "succeeded, no model"
        if not (job["gate"] or {}).get("passed", True):
            return "succeeded, below gate"
    return status


def describe_progress(job: Mapping[str, Any]) -> str:
    """How far it is: in the stage that it is in, never in one that has ended."""
    progress = job["progress"]
    if job["status"] == "running" and job["kind"] == "training" and job["stage"] != "training":
        total = progress["total"]
        return f"{progress['done']:,}/{total:,}" if total else ""
    return f"{progress['fraction']:.0%}"


def describe_wait(job: Mapping[str, Any]) -> str | None:
    """What a job waits for; None for one that does not wait."""
    if job["waits_for"]:
        return for_terminal(str(job["waits_for"]))
    place = job.get("place")
    if job["status"] != "queued" or place is None:
        return None
    return "its turn: it is next" if place == 1 else f"its turn: place {place} in the queue"


def describe_sweep(sweep: Mapping[str, Any]) -> str:
    """How a sweep stands or ended, by the same rule."""
    status = str(sweep["status"])
    return "succeeded, no model" if status == "succeeded" and sweep["model"] is None else status
