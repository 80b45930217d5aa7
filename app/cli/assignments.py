"""``--set name=value``: settings from the command line, typed the way JSON types them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from app.cli.client import CommandError

_SIZE = re.compile(r"(\d+)[x×](\d+)")
_SPLIT = "split"


def parse_assignments(assignments: Iterable[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The hyperparameters, and the settings of the split (``split.train=0.8``).

    A dot goes into an object: ``class_weights.scratch=2``. Which names exist is for the server to say.
    """
    given: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        path = name.strip().split(".")
        if not equals or "" in path:
            raise CommandError(
                f"{assignment!r} is not name=value.",
                hint="For example: --set epochs=20 --set early_stopping.patience=5",
            )
        _put(given, path, parse_value(value.strip()), assignment)
    split = given.pop(_SPLIT, {})
    if not isinstance(split, dict):
        raise CommandError(
            "split takes ratios or counts.", hint="--set split.train=0.8 --set split.valid=0.1 …"
        )
    return given, split


def parse_value(text: str) -> Any:
    """A number, true, false, null, a list or an object where the text is one; 96x128 is a size; else text."""
    if size := _SIZE.fullmatch(text):
        return [int(size[1]), int(size[2])]
    try:
        return json.loads(text, parse_constant=str)
    except json.JSONDecodeError:
        pass
    try:
        return float(text) if text[-1:].isdigit() or text.endswith(".") else text
    except ValueError:
        return text


def parse_shares(text: str, *, seed: int | None) -> dict[str, Any]:
    """The settings of a split from ``70/15/15``: percentages, or ratios, if they add up so, else counts."""
    shares = text.split("/")
    try:
        train, valid, test = (float(share) for share in shares)
    except ValueError:
        raise CommandError(
            f"{text!r} is not a split.",
            hint="Give train/valid/test in percent, such as 70/15/15, or as counts, such as 1000/200/200.",
        ) from None
    divisor = 100 if abs(train + valid + test - 100) < 1e-6 else 1
    split = {"train": train / divisor, "valid": valid / divisor, "test": test / divisor}
    return split if seed is None else {**split, "seed": seed}


def _put(target: dict[str, Any], path: list[str], value: Any, assignment: str) -> None:
    for part in path[:-1]:
        target = target.setdefault(part, {})
        if not isinstance(target, dict):
            raise CommandError(f"{assignment!r}: {part} has a value already.")
    target[path[-1]] = value
