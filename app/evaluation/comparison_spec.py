"""What a comparison with the champion is asked to do, and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from app.schemas.class_map import ClassMap
from app.schemas.message import Message


class Learned(Message):
    """The folder of a dataset that a model was trained on, and the file of its split."""

    dataset: Path
    split: Path


class ComparisonSpec(Message):
    """``champion`` is an artifact with that ``champion_digest``; ``image_root`` a folder.

    ``dataset``: the folder of what the new model was tested on, with the ``class_map`` of its training;
    ``answers``: the table that this test left. ``classes``: those that both know: only their images are
    compared. ``learned``: by the new model. ``champion_learned``: None where it is not known.
    """

    format_version: Literal[1] = 1
    champion: Path
    champion_digest: str
    image_root: Path
    dataset: Path
    class_map: ClassMap | None = None
    answers: Path
    classes: tuple[str, ...]
    learned: Learned
    champion_learned: Learned | None = None


class Comparison(Message):
    """What both answer to the same images. Its fields are those of ``GateComparison``."""

    images: int
    counted: int
    left_out: int
    not_asked: int
    new_right: int
    champion_right: int
    only_new: int
    only_champion: int
    knows_champion_training: bool


class ChampionAnswer(Message):
    """``found``: None where the champion was not compared. ``is_broken``: its artifact cannot be served, for
    this ``reason``; else ``reason`` says why it could not be asked.
    """

    found: Comparison | None = None
    is_broken: bool = False
    reason: str | None = None
