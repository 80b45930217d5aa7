"""What ``loupe train`` and ``loupe sweep start`` say at once: which images they take, and their warnings."""

from __future__ import annotations

from typing import Any

from app.cli.client import Client, quoted
from app.cli.console import format_age, note
from app.cli.job_states import describe_wait
from app.words import count


def note_dataset(client: Client, dataset_id: str, *, is_chosen: bool) -> None:
    """Which dataset is trained on. ``is_chosen``: nobody named it."""
    found = client.get(f"/datasets/{quoted(dataset_id)}")
    parts = [found["source"]]
    if found["items"] is not None:
        classes = count(len(found["classes"]), "class", "classes")
        parts.append(f"{count(found['items'], 'image', 'images')} in {classes}")
    parts.append(f"{format_age(found['created_at'])} old")
    why = ", the newest that can be trained on" if is_chosen and found["status"] == "ready" else ""
    note(f"On {dataset_id} ({', '.join(parts)}){why}.")


def note_warnings(warnings: list[str]) -> None:
    """What a training will do otherwise than one may think."""
    for warning in warnings:
        note(f"warning: {warning}", style="yellow")


def note_start(client: Client, job: dict[str, Any]) -> None:
    """The warnings of a job that has just been accepted, and what it waits for."""
    events = client.get(f"/jobs/{quoted(job['id'])}/events")["data"]
    note_warnings([event["data"]["message"] for event in events if event["type"] == "warning"])
    if wait := describe_wait(job):
        note(f"It waits for {wait}" if wait.startswith("its turn") else f"It waits. {wait}")
