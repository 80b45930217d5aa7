"""The rules that a new model must keep: options of commands, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from app.cli.client import CommandError
from app.cli.quantities import parse_bytes

MinAccuracy = Annotated[
    float | None,
    typer.Option("--min-accuracy", help="Test accuracy, 0 to 1, under which a model fails the gate."),
]
MinRecall = Annotated[
    list[str] | None,
    typer.Option(
        "--min-recall",
        metavar="CLASS=RECALL",
        help="Share of the test images of a class that must be answered with it, 0 to 1; 0 takes the floor "
        "away. May be repeated.",
    ),
]
MaxBytes = Annotated[
    str | None,
    typer.Option("--max-bytes", help="Largest served model, such as 10MB; 0 takes the limit away."),
]
MaxMilliseconds = Annotated[
    float | None,
    typer.Option(
        "--max-milliseconds",
        help="Longest prediction, as a training measures it on one thread; 0 takes the limit away.",
    ),
]


def read_rules(
    min_accuracy: float | None,
    min_recall: Sequence[str] | None,
    max_bytes: str | None,
    max_milliseconds: float | None,
    *,
    is_new: bool,
) -> dict[str, Any]:
    """The rules that were given, as the API takes them. ``is_new``: there is none yet to take away.

    Raises CommandError.
    """
    rules: dict[str, Any] = {}
    if min_accuracy is not None:
        rules["min_accuracy"] = min_accuracy
    if min_recall:
        rules["min_recall"] = dict(map(_parse_floor, min_recall))
    if max_bytes is not None:
        rules["max_bytes"] = parse_bytes(max_bytes) or None
    if max_milliseconds is not None:
        rules["max_milliseconds"] = max_milliseconds or None
    if is_new and "min_recall" in rules:
        rules["min_recall"] = {name: floor for name, floor in rules["min_recall"].items() if floor}
    return rules


def describe_limits(rules: dict[str, Any]) -> list[str]:
    """The rules beside the least accuracy, in words; an older server has none."""
    floors = rules.get("min_recall") or {}
    words = [f"recall of {name} at least {floor:g}" for name, floor in sorted(floors.items())]
    if rules.get("max_bytes"):
        words.append(f"at most {rules['max_bytes']:,} bytes")
    if rules.get("max_milliseconds"):
        words.append(f"at most {rules['max_milliseconds']:g} ms a prediction")
    return words


def _parse_floor(text: str) -> tuple[str, float | None]:
    # A class may have an equals sign in its name, a number has none.
    name, equals, value = text.rpartition("=")
    try:
        floor = float(value)
    except ValueError:
        floor = -1.0
    if not equals or not name or not 0 <= floor <= 1:
        raise CommandError(f"{text!r} is not CLASS=RECALL.", hint="For example: --min-recall crack=0.99")
    return name, floor or None
