"""What an evaluation is asked to do, and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from app.evaluation.figures import (
    Calibration,
    ClassScores,
    ConfusionMatrix,
    Estimate,
    Metrics,
    Selection,
    SharedGroups,
    UnknownClass,
)
from app.schemas.message import Message
from app.schemas.product import MAX_ERROR


class EvaluationSpec(Message):
    """``artifact``, ``dataset`` and ``image_root`` are folders.

    ``split``: a JSON file, item id to split; None: the split that the dataset came with. ``subset``: one of
    its splits; None: all images. ``artifact_digest``: what the artifact's must be, where it is known.
    ``max_error``: the share of accepted answers that may be wrong. ``trained``: the dataset's folder and the
    split of the training, where those images could be among these; ``include_trained``: whether they count.
    """

    format_version: Literal[1] = 1
    artifact: Path
    artifact_digest: str | None = None
    dataset: Path
    image_root: Path
    split: Path | None = None
    subset: str | None = None
    max_error: float = MAX_ERROR
    trained: tuple[Path, Path] | None = None
    include_trained: bool = False


class Mistake(Message):
    """An image, its class, and the class that was answered with its probability."""

    item: str
    name: str
    true: str
    predicted: str
    probability: float


class EvaluationContent(Message):
    """Everything measured: the content of ``evaluation.json``, kept in the database and shown by the API.

    ``calibration_before``: of the probabilities as the network gives them, for a model that is calibrated.
    ``selection``: None for a model without thresholds. ``trained_items``: images that the model trained on.
    """

    artifact_digest: str
    dataset_digest: str
    subset: str
    items: int
    metrics: Metrics
    unknown_classes: tuple[UnknownClass, ...] = ()
    accuracy_of_known_classes: Estimate | None = None
    classes: tuple[ClassScores, ...]
    confusion_matrix: ConfusionMatrix
    calibration: Calibration
    calibration_before: Calibration | None = None
    selection: Selection | None = None
    shared_groups: SharedGroups | None = None
    trained_items: int = 0
    mistakes: tuple[Mistake, ...]
    warnings: tuple[str, ...] = ()


class EvaluationResult(Message):
    """``milliseconds``: what the model takes for one image on one thread, decoded already."""

    evaluation: EvaluationContent
    milliseconds: float | None = None
