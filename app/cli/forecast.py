"""What the terminal shows of a forecast."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.cli.console import format_bytes, format_seconds, note, say, show_fields


def show_forecast(forecast: Mapping[str, Any]) -> None:
    """Time, memory, disk and accuracy with intervals; what is not known, and which command tells."""
    time, memory, disk, accuracy = (forecast[name] for name in ("time", "memory", "disk", "accuracy"))
    fields: dict[str, object] = {}
    if time:
        fields["time"] = _range(time["seconds"], format_seconds, "4 of 5 trainings")
    if memory:
        fields["memory"] = _range(memory["bytes"], format_bytes, "4 of 5 trainings")
    if disk:
        kept, running = format_bytes(disk["kept_bytes"]), format_bytes(disk["running_bytes"])
        fields["disk"] = f"{running} while it runs, {kept} afterwards"
    if accuracy:
        fields["test accuracy"] = _range(accuracy["test"], _share, "95 %")
        points = [f"{_share(point['accuracy'])} from {point['images']:,}" for point in accuracy["curve"]]
        fields["curve"] = ", ".join(points)
        fields["twice the images"] = _range(accuracy["twice_the_images"], _share, "95 %")
    show_fields(fields)
    if time and time["trainings_before"]:
        say()
        say(f"Trainings before it, whose time is not in this: {time['trainings_before']}.")
    for name, part in (("Time", time), ("Memory", memory), ("Accuracy", accuracy)):
        if part:
            note(f"{name}: {part['basis']}.")
    for unknown in forecast["unknown"]:
        say(f"Not known: {unknown['what']}. {unknown['why']}")
        if unknown["command"]:
            say(f"  This command would tell: {unknown['command']}")


def _range(value: Mapping[str, float], form: Any, share: str) -> str:
    return f"{form(value['expected'])} ({share}: {form(value['low'])} to {form(value['high'])})"


def _share(value: float) -> str:
    return f"{value:.3f}"
