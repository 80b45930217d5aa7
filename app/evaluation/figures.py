"""The shapes of an evaluation's numbers, without the code that computes them and takes seconds to load."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % confidence interval; the bounds are None where the method yields none."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class TopK:
    """The share of images whose true label is among the ``k`` most probable ones."""

    k: int
    value: float


@dataclass(frozen=True)
class Metrics:
    """The numbers over all images. Macro means: averaged over the classes that have images."""

    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    macro_precision: Estimate
    macro_recall: Estimate
    top_k: TopK
    log_loss: float


@dataclass(frozen=True)
class ClassScores:
    """One class against the rest; all scores are None where ``support``, its number of images, is 0."""

    name: str
    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class ConfusionMatrix:
    """``counts[i][j]``: images of class ``labels[i]`` that were answered with ``labels[j]``."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class CalibrationBin:
    """Images whose top probability lies in (``low``, ``high``], its mean, and how many were right."""

    low: float
    high: float
    items: int
    confidence: float | None
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """The expected calibration error and the reliability diagram that it summarises."""

    ece: float
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True)
class UnknownClass:
    """A class that the model does not know, and its images: none of them can be answered rightly."""

    name: str
    items: int


@dataclass(frozen=True)
class SharedGroups:
    """The ``items`` test images of groups that are in train or valid too, and the accuracy on them alone.

    ``are_counted``: whether they are part of the other figures.
    """

    items: int
    accuracy: Estimate
    are_counted: bool


@dataclass(frozen=True)
class Selection:
    """How the answers fare under a product's promise: at most ``max_error`` of the accepted ones are wrong.

    ``promised``: what the model can promise of it; None: nothing. ``error``: the share of ``wrong`` ones
    among the ``accepted``, None where there is none. ``rejected``: images by reason.
    """

    max_error: float
    promised: float | None
    accepted: int
    wrong: int
    coverage: Estimate
    error: Estimate | None
    rejected: dict[str, int]


@dataclass(frozen=True)
class Evaluation:
    """Everything measured over ``items`` images, those of unknown classes among them.

    ``accuracy_of_known_classes`` leaves these out; None where no image is of a known class.
    """

    items: int
    metrics: Metrics
    unknown_classes: tuple[UnknownClass, ...]
    accuracy_of_known_classes: Estimate | None
    classes: tuple[ClassScores, ...]
    confusion_matrix: ConfusionMatrix
    calibration: Calibration
