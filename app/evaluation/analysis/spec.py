"""What the analysis of an evaluation is asked to do, and the curves that it leaves."""

from __future__ import annotations

from pathlib import Path

from app.evaluation.figures import Calibration
from app.schemas.message import Message


class AnalysisSpec(Message):
    """``evaluation``: the folder of an evaluation's files. ``classes``: the model's in the order of its
    outputs, then those that it does not know. ``calibration_before``: what the evaluation says of the
    probabilities before calibration. ``memory_bytes``: what the process may allocate.
    """

    evaluation: Path
    classes: tuple[str, ...]
    calibration_before: Calibration | None = None
    memory_bytes: int


class AnalysisResult(Message):
    """How many images were analysed."""

    items: int


class Roc(Message):
    """Of falling thresholds: the share of other images that are taken for the class, and of its own images
    that are found. ``area`` is that of all points, also of those that were thinned out.
    """

    area: float
    false_positive_rate: tuple[float, ...]
    true_positive_rate: tuple[float, ...]


class PrecisionRecall(Message):
    """Of falling thresholds: the share of the class's images that are found, and of what is found the share
    that is right. ``average_precision`` is that of all points.
    """

    average_precision: float
    recall: tuple[float, ...]
    precision: tuple[float, ...]


class OneClass(Message):
    """One class against all others. The curves are None where no image is of the class, or all are.

    ``positives``: its images; ``negatives``: the others.
    """

    name: str
    positives: int
    negatives: int
    roc: Roc | None
    precision_recall: PrecisionRecall | None


class MacroAverage(Message):
    """The means over the ``classes`` that have curves; the curve is the mean height of theirs."""

    classes: int
    roc: Roc
    average_precision: float


class MicroAverage(Message):
    """All pairs of an image and a class as one question: is the image of the class?"""

    roc: Roc
    precision_recall: PrecisionRecall


class RiskCoverage(Message):
    """If only the surest share of the images is answered, what share of these answers is wrong.

    ``confidence``: the least probability that is still answered. ``area``: the mean risk over all coverages.
    """

    area: float
    coverage: tuple[float, ...]
    risk: tuple[float, ...]
    confidence: tuple[float, ...]


class ReliabilityBin(Message):
    """Images whose probability lies in (``low``, ``high``]: how sure the model was, and how often right.

    The interval of ``accuracy`` is Wilson's; all are None where the bin is empty.
    """

    low: float
    high: float
    items: int
    confidence: float | None
    accuracy: float | None
    accuracy_low: float | None
    accuracy_high: float | None


class Reliability(Message):
    """The reliability diagram of the served probabilities."""

    ece: float
    bins: tuple[ReliabilityBin, ...]


class Curves(Message):
    """``max_points``: no curve has more. ``micro`` is None where it would take too much memory, see
    ``MICRO_PAIRS``, and where no image is of a class that the model knows. ``reliability_before``: before
    calibration; None for a model without.
    """

    items: int
    max_points: int
    classes: tuple[OneClass, ...]
    micro: MicroAverage | None
    macro: MacroAverage | None
    risk_coverage: RiskCoverage
    reliability: Reliability
    reliability_before: Reliability | None = None
