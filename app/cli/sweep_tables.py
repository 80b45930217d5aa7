"""What the terminal shows of sweeps: the table of candidates, and a line for what happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from app.cli.console import (
    add_row,
    format_seconds,
    format_setting,
    make_table,
    note,
    printable,
    say,
    say_problem,
    show,
    show_fields,
)
from app.cli.job_states import describe_sweep


def show_sweep(sweep: Mapping[str, Any]) -> None:
    """How a sweep stands: its head, its candidates best first, what failed and what was left out."""
    counts = sweep["split"].get("counts") or {}
    show_fields(
        {
            "id": sweep["id"],
            "status": describe_sweep(sweep),
            "product": sweep["product"],
            "dataset": sweep["dataset"]["id"],
            "split": ", ".join(f"{name} {count:,}" for name, count in counts.items()) or None,
            "cuts": f"{sweep['cut']} of {sweep['cuts']}",
            "time": describe_time(sweep),
            "model": sweep["model"],
        }
    )
    say()
    show_candidates(sweep)
    if sweep["error"]:
        say_problem(sweep["error"])


def show_candidates(sweep: Mapping[str, Any]) -> None:
    """The table; on 80 columns it fits."""
    table = make_table(
        "network",
        ">valid",
        ">95 %",
        ">ms",
        ">MB",
        ">time",
        ">epoch",
        "!result",
        "!front",
        drops=("MB", "time", "95 %", "front", "ms", "epoch"),
    )
    for one in sweep["candidates"]:
        accuracy = one["accuracy"]
        is_winner = one["job"] == sweep["winner"]
        cells = (
            name_candidate(one),
            f"{accuracy['value']:.3f}" if accuracy else None,
            f"{accuracy['low']:.2f}-{accuracy['high']:.2f}" if accuracy else None,
            None if one["milliseconds"] is None else _figure(one["milliseconds"], one["is_timed"]),
            _figure(one["bytes"] / 1e6, one["model"] is not None),
            _clock(one["seconds"]) if one["seconds"] else None,
            f"{one['epoch']}/{one['epochs']}",
            one["standing"],
            "✓" if one["on_front"] else None,
        )
        style = "bold" if is_winner else ""
        add_row(table, *(Text(printable(cell or ""), style=style) for cell in cells))
    show(table)
    for one in sweep["candidates"]:
        if one["standing"] in ("failed", "cancelled") and one["reason"]:
            say(f"{name_candidate(one)} {one['standing']}: {one['reason']}", style="yellow")
    if sweep["skipped"]:
        note(f"Not tried: {len(sweep['skipped']):,} networks; --json says why.")
    note(
        "valid: accuracy of the best epoch on the validation images, with its 95 % interval. ms a prediction "
        "and MB: of the model, or with ~ those of `loupe networks`. front ✓: no other is as good and as fast."
    )


def name_candidate(one: Mapping[str, Any]) -> str:
    """The network, and in what its settings differ."""
    settings = ", ".join(f"{name}={format_setting(value)}" for name, value in one["settings"].items())
    return f"{one['network']} {settings}".rstrip()


def describe_time(sweep: Mapping[str, Any]) -> str:
    """What it took so far, may take and was estimated to take."""
    parts = [format_seconds(sweep["seconds"]) if sweep["seconds"] is not None else "not begun"]
    if sweep["budget_seconds"] is not None:
        parts.append(f"of at most {format_seconds(sweep['budget_seconds'])}")
    if sweep["estimated_seconds"] is not None:
        parts.append(f"(estimated: {format_seconds(sweep['estimated_seconds'])})")
    return " ".join(parts)


def describe_changes(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> Iterator[Text]:
    """A line for each candidate that reached an epoch of comparison, and for each event since ``before``."""
    reached = {one["job"]: one["epoch"] for one in before["candidates"]} if before else {}
    for one in now["candidates"]:
        marks = [mark for mark in one["rungs"] if reached.get(one["job"], 0) < mark <= one["epoch"]]
        if marks and one["accuracy"]:
            line = Text(f"{printable(name_candidate(one))}  epoch {one['epoch']}/{one['epochs']}")
            yield line.append("  valid accuracy ", style="dim").append(f"{one['accuracy']['value']:.4f}")
    known = len(before["events"]) if before else 0
    for event in now["events"][known:]:
        if event["type"] not in ("accepted", "candidate_won", "ended"):
            detail = f": {printable(event['detail'])}" if event["detail"] else ""
            yield Text(f"{event['type'].replace('_', ' ')}{detail}", style="cyan")


def _figure(value: float, is_measured: bool) -> str:
    """``0.12``, ``1.2``, ``12``; with a tilde if it is the registry's."""
    return f"{'' if is_measured else '~'}{value:.{2 if value < 1 else 1 if value < 10 else 0}f}"


def _clock(seconds: float) -> str:
    """``3:20``, ``1:05:00``: short enough for a column."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes_left = divmod(minutes, 60)
    return f"{hours}:{minutes_left:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
