"""What the page of an evaluation is made from: all that the service gathered, as plain values."""

from __future__ import annotations

from pathlib import Path

from app.datasets.manifest import Item
from app.schemas.evaluation import Evaluation
from app.schemas.finding import Level
from app.schemas.message import Message

PAGE = "report.html"


class Example(Message):
    """An image and its answer. ``image``: of the dataset; None where the dataset knows it no more."""

    item: str
    name: str
    true: str
    predicted: str
    probability: float
    of_true: float
    image: Item | None


class Epoch(Message):
    """One row of a training's series. ``valid_…`` is None in epochs without validation."""

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    valid_loss: float | None
    valid_accuracy: float | None
    is_best: bool


class Training(Message):
    """The series of a training; ``learning_rates`` are (step, rate), thinned."""

    epochs: tuple[Epoch, ...]
    learning_rates: tuple[tuple[int, float], ...]


class Finding(Message):
    """Something that stands out in the dataset or in the training. ``evidence``: the numbers that show it."""

    level: Level
    text: str
    advice: str | None = None
    evidence: str | None = None
    command: str | None = None


class Fact(Message):
    """A name and its value, both to be read."""

    name: str
    value: str


class Facts(Message):
    """Facts under one heading."""

    heading: str
    facts: tuple[Fact, ...]


class PageSpec(Message):
    """``images``: the root of the originals; ``pixel_range``: how the dataset reads 16-bit greyscale.

    ``analysis``: the folder of ``app.evaluation.analysis``. ``mistakes`` and ``doubtful`` are the examples to
    show, of ``total_mistakes`` and of all right answers. ``artifact``: the model's folder, with the digest
    that it must have; None where it is gone. ``is_examined``: whether ``findings`` are also those
    of an examination; ``training_findings``: those of the training itself. ``training`` is None for a model
    that was trained elsewhere.
    """

    product: str
    model: str
    evaluation: Evaluation
    analysis: Path
    images: Path
    pixel_range: tuple[int, int] | None
    memory_bytes: int
    mistakes: tuple[Example, ...]
    total_mistakes: int
    doubtful: tuple[Example, ...]
    artifact: Path | None = None
    artifact_digest: str | None = None
    training: Training | None
    is_examined: bool
    findings: tuple[Finding, ...]
    training_findings: tuple[Finding, ...] = ()
    facts: tuple[Facts, ...]


class PageResult(Message):
    """The size of the page, and how many images could not be shown."""

    bytes: int
    images_missing: int
