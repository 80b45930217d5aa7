"""What the child that forecasts is asked, and what it answers."""

from __future__ import annotations

from pathlib import Path

from app.schemas.class_map import ClassMap
from app.schemas.message import Message


class ForecastSpec(Message):
    """``extractor``: the folder of what gives feature vectors, if there is one; its time is measured.

    ``dataset``: the folder of a dataset that has feature vectors; None: no curve is drawn. ``items``:
    positions of images to learn from in its manifest, after ``class_map``. ``seconds``: processor time after
    which the curve is of what was judged so far. ``memory_bytes``: what the process may allocate.
    """

    extractor: Path | None
    dataset: Path | None
    class_map: ClassMap | None = None
    items: tuple[int, ...] = ()
    seed: int = 0
    seconds: float
    memory_bytes: int


class Curve(Message):
    """Points of a learning curve: see ``app.forecasts.curve.LearningCurve``."""

    images: tuple[int, ...]
    accuracies: tuple[float, ...]
    judged: int
    worth: float
    doubled: tuple[float, float, float]


class ForecastResult(Message):
    """``embed_seconds``: processor time of the extractor for one image; None where there is none.

    ``curve``: None where ``problem`` says why there is none, and where none was asked for.
    """

    embed_seconds: float | None = None
    curve: Curve | None = None
    problem: str | None = None
