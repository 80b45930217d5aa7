"""From labels and probabilities to curves: ROC, precision against recall, risk against coverage, reliability.

The areas are scikit-learn's. ``docs/evaluation.md`` explains the curves to a reader.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import auc, confusion_matrix_at_thresholds

from app.evaluation.analysis.spec import (
    Curves,
    MacroAverage,
    MicroAverage,
    OneClass,
    PrecisionRecall,
    Reliability,
    ReliabilityBin,
    RiskCoverage,
    Roc,
)
from app.evaluation.analysis.thinning import thin_curve
from app.evaluation.figures import Calibration
from app.evaluation.metrics import decide, estimate_share, measure_calibration

MAX_POINTS = 201
"""Of a curve: one for each half per cent of the way."""
MAX_CLASS_POINTS = 20_000
"""Of all classes' curves together: of very many classes each has fewer."""
LEAST_POINTS = 11
MICRO_PAIRS = 10_000_000
"""Of images times classes. More would take gigabytes to sort."""
_COLUMNS_AT_ONCE = 32

Floats = NDArray[np.float64]
Labels = NDArray[np.integer[Any]]


def draw_curves(labels: Labels, probabilities: NDArray[np.float32], classes: Sequence[str]) -> Curves:
    """Of labels, int (n,), and served probabilities, float32 (n, c), for the first c of ``classes``.

    Labels from c on are of classes that the model does not know. Their images are others to every class.
    """
    known = probabilities.shape[1]
    points = max(LEAST_POINTS, min(MAX_POINTS, MAX_CLASS_POINTS // max(1, known)))
    grid = np.linspace(0, 1, MAX_POINTS)
    described: list[OneClass] = []
    heights: list[Floats] = []
    for index, scores in enumerate(_columns(probabilities)):
        described.append(_one_class(labels == index, scores, classes[index], points))
        if (curve := described[-1].roc) is not None:
            heights.append(np.interp(grid, curve.false_positive_rate, curve.true_positive_rate))
    confidence = np.asarray(probabilities.max(axis=1), np.float64)
    is_right = decide(probabilities) == labels
    return Curves(
        items=len(labels),
        max_points=MAX_POINTS,
        classes=tuple(described),
        micro=_micro(labels, probabilities),
        macro=_macro(described, grid, heights),
        risk_coverage=risk_coverage(is_right, confidence),
        reliability=describe_reliability(measure_calibration(is_right, confidence)),
    )


def risk_coverage(is_right: NDArray[np.bool_], confidence: Floats) -> RiskCoverage:
    """Of (n,) answers. Equally sure ones are answered together, or none of them.

    The area is the mean over the images of the risk at which each is answered (Geifman and El-Yaniv:
    Selective Classification for Deep Neural Networks, NIPS 2017).
    """
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence = confidence[order]
    last_of_equals = np.append(np.flatnonzero(np.diff(sorted_confidence)), len(order) - 1)
    answered = last_of_equals + 1
    risk = np.cumsum(~is_right[order])[last_of_equals] / answered
    coverage = answered / len(order)
    area = float((risk * np.diff(answered, prepend=0)).sum() / len(order))
    kept = thin_curve(coverage, risk, MAX_POINTS)
    return RiskCoverage(
        area=area,
        coverage=_list(coverage[kept]),
        risk=_list(risk[kept]),
        confidence=_list(sorted_confidence[last_of_equals][kept]),
    )


def describe_reliability(calibration: Calibration) -> Reliability:
    """The bins with an interval of each one's accuracy."""
    bins = []
    for each in calibration.bins:
        interval = None
        if each.accuracy is not None:
            interval = estimate_share(round(each.accuracy * each.items), each.items)
        bins.append(
            ReliabilityBin(
                **vars(each),
                accuracy_low=None if interval is None else interval.low,
                accuracy_high=None if interval is None else interval.high,
            )
        )
    return Reliability(ece=calibration.ece, bins=tuple(bins))


def _columns(probabilities: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Each column, read from the file's rows several at a time."""
    for start in range(0, probabilities.shape[1], _COLUMNS_AT_ONCE):
        yield from np.ascontiguousarray(probabilities[:, start : start + _COLUMNS_AT_ONCE].T)


def _one_class(
    is_positive: NDArray[np.bool_], scores: NDArray[np.float32], name: str, points: int
) -> OneClass:
    positives = int(is_positive.sum())
    negatives = len(is_positive) - positives
    if not positives or not negatives:
        return OneClass(name=name, positives=positives, negatives=negatives, roc=None, precision_recall=None)
    roc, precision_recall = _curves(is_positive, scores, points)
    return OneClass(
        name=name,
        positives=positives,
        negatives=negatives,
        roc=roc,
        precision_recall=precision_recall,
    )


def _curves(
    is_positive: NDArray[np.bool_], scores: NDArray[np.float32], points: int
) -> tuple[Roc, PrecisionRecall]:
    """Both from one sorting, which is what they cost."""
    _, false, _, found, _ = confusion_matrix_at_thresholds(is_positive, scores)
    false_rate, recall = false / false[-1], found / found[-1]
    precision = found / (found + false)
    false_rate, heights = np.append(0.0, false_rate), np.append(0.0, recall)
    kept = thin_curve(false_rate, heights, points)
    roc = Roc(
        area=float(auc(false_rate, heights)),
        false_positive_rate=_list(false_rate[kept]),
        true_positive_rate=_list(heights[kept]),
    )
    # As scikit-learn: before anything is found, nothing that is found is wrong.
    recall, precision = np.append(0.0, recall), np.append(1.0, precision)
    average = float((np.diff(recall) * precision[1:]).sum())
    # Nothing is said of thresholds at which all are found already.
    last = int(np.searchsorted(recall, 1.0)) + 1
    recall, precision = recall[:last], precision[:last]
    kept = thin_curve(recall, precision, points)
    return roc, PrecisionRecall(
        average_precision=average, recall=_list(recall[kept]), precision=_list(precision[kept])
    )


def _micro(labels: Labels, probabilities: NDArray[np.float32]) -> MicroAverage | None:
    known = probabilities.shape[1]
    if probabilities.size > MICRO_PAIRS or not (labels < known).any():
        return None
    is_positive = (labels[:, None] == np.arange(known)).ravel()
    scores = np.asarray(probabilities).ravel()
    roc, precision_recall = _curves(is_positive, scores, MAX_POINTS)
    return MicroAverage(roc=roc, precision_recall=precision_recall)


def _macro(described: Sequence[OneClass], grid: Floats, heights: Sequence[Floats]) -> MacroAverage | None:
    present = [(each.roc, each.precision_recall) for each in described if each.roc and each.precision_recall]
    if not present:
        return None
    return MacroAverage(
        classes=len(present),
        roc=Roc(
            area=float(np.mean([roc.area for roc, _ in present])),
            false_positive_rate=(0.0, *_list(grid)),
            true_positive_rate=(0.0, *_list(np.mean(heights, axis=0))),
        ),
        average_precision=float(np.mean([curve.average_precision for _, curve in present])),
    )


def _list(values: Floats) -> tuple[float, ...]:
    """Six decimals: a thousandth of what can be seen, and half of the bytes."""
    return tuple(np.round(values, 6).tolist())
