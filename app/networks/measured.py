"""How long an image takes in each network, as `make bench-networks` measured it: plain data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

MEASURED = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class Speed:
    """Milliseconds an image at the network's own size.

    ``training_ms``: a whole step on all cores, divided by its ``batch`` images. ``serving_ms``: LiteRT in
    float32, one image at a time, on one thread.
    """

    training_ms: float
    serving_ms: float
    batch: int


def get_speed(name: str) -> Speed | None:
    """The figures of a network by its registry name; None where none were taken."""
    numbers = read_measured()["networks"].get(name)
    return None if numbers is None else Speed(**numbers)


def measured_on() -> str:
    """The machine that the figures are from."""
    machine: str = read_measured()["machine"]
    return machine


@cache
def read_measured() -> dict[str, Any]:
    """The file's content: ``machine``, and ``networks`` by name. Empty where nothing was measured."""
    if not MEASURED.is_file():
        return {"machine": "", "networks": {}}
    content: dict[str, Any] = json.loads(MEASURED.read_text(encoding="utf-8"))
    return content
