"""From labels and probabilities to the numbers of an evaluation, each with its formula's source.

``docs/evaluation.md`` explains them to a reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, precision_recall_fscore_support

from app.evaluation.figures import (
    Calibration,
    CalibrationBin,
    ClassScores,
    ConfusionMatrix,
    Estimate,
    Evaluation,
    Metrics,
    SharedGroups,
    TopK,
    UnknownClass,
)

CONFIDENCE_LEVEL = 0.95
CALIBRATION_BINS = 15
RESAMPLES, RESAMPLING_SEED = 1000, 0

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def evaluate_predictions(
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.float32],
    known: Sequence[str],
    unknown: Sequence[str] = (),
    top_k: int = 5,
) -> Evaluation:
    """Compares true labels, int (n,), with served probabilities, float32 (n, c) for the ``known`` classes.

    The answer is the most probable class; of equal ones the one with the lower index (``decide``). Labels
    from c on are of the ``unknown`` classes, which the model never answers: their probability is 0.
    Raises ValueError for no images, fewer than two known classes, shapes that disagree and NaN.
    """
    _check(labels, probabilities, known, unknown)
    classes = (*known, *unknown)
    probabilities = np.pad(probabilities, ((0, 0), (0, len(unknown))))
    predicted = decide(probabilities)
    indices = np.arange(len(classes))
    counts: Counts = confusion_matrix(labels, predicted, labels=indices)
    scores = _score_classes(labels, predicted, classes)
    pictures = counts.sum(axis=1)
    of_known = int(pictures[: len(known)].sum())
    return Evaluation(
        items=len(labels),
        metrics=Metrics(
            accuracy=estimate_share(int(np.trace(counts)), len(labels)),
            **_macro_averages(counts, scores),
            top_k=_top_k(labels, probabilities, min(top_k, len(known))),
            log_loss=float(log_loss(labels, probabilities, labels=indices)),
        ),
        unknown_classes=tuple(
            UnknownClass(name, int(items))
            for name, items in zip(unknown, pictures[len(known) :], strict=True)
        ),
        accuracy_of_known_classes=estimate_share(int(np.trace(counts)), of_known) if of_known else None,
        classes=scores,
        confusion_matrix=ConfusionMatrix(tuple(classes), tuple(tuple(row) for row in counts.tolist())),
        calibration=measure_calibration(labels == predicted, probabilities.max(axis=1).astype(np.float64)),
    )


def measure_shared_groups(
    labels: NDArray[np.integer[Any]], probabilities: NDArray[np.float32], *, are_counted: bool
) -> SharedGroups:
    """Of test images whose group was trained on: labels, int (n,), and probabilities, float32 (n, c)."""
    right = int((decide(probabilities) == labels).sum())
    return SharedGroups(len(labels), estimate_share(right, len(labels)), are_counted)


def decide(probabilities: NDArray[np.float32]) -> NDArray[np.intp]:
    """The index answered for each row of (n, c): the most probable, of equal ones the lower."""
    indices: NDArray[np.intp] = probabilities.argmax(axis=1)
    return indices


def estimate_share(successes: int, trials: int) -> Estimate:
    """A share of at least one trial, with Wilson's score interval.

    Probable inference, the law of succession, JASA 22 (1927).
    """
    interval = binomtest(successes, trials).proportion_ci(CONFIDENCE_LEVEL, method="wilson")
    return Estimate(successes / trials, float(interval.low), float(interval.high))


def measure_calibration(correct: NDArray[np.bool_], confidence: Floats) -> Calibration:
    """Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017, equation 3."""
    places = np.clip(np.ceil(confidence * CALIBRATION_BINS).astype(int) - 1, 0, CALIBRATION_BINS - 1)
    bins, error = [], 0.0
    for place in range(CALIBRATION_BINS):
        members = places == place
        items = int(members.sum())
        mean = float(confidence[members].mean()) if items else None
        right = float(correct[members].mean()) if items else None
        if mean is not None and right is not None:
            error += items / len(correct) * abs(right - mean)
        bins.append(
            CalibrationBin(place / CALIBRATION_BINS, (place + 1) / CALIBRATION_BINS, items, mean, right)
        )
    return Calibration(error, tuple(bins))


def _check(
    labels: NDArray[np.integer[Any]],
    probabilities: NDArray[np.float32],
    known: Sequence[str],
    unknown: Sequence[str],
) -> None:
    if len(known) < 2:
        raise ValueError("at least two classes are needed")
    if len(labels) == 0:
        raise ValueError("there are no images to evaluate")
    if labels.shape != (len(labels),) or probabilities.shape != (len(labels), len(known)):
        raise ValueError(f"labels {labels.shape}, probabilities {probabilities.shape}, {len(known)} classes")
    if labels.min() < 0 or labels.max() >= len(known) + len(unknown):
        raise ValueError(f"labels must lie between 0 and {len(known) + len(unknown) - 1}")
    if not np.isfinite(probabilities).all():
        raise ValueError("probabilities must be finite")


def _score_classes(
    labels: NDArray[np.integer[Any]], predicted: NDArray[np.intp], classes: Sequence[str]
) -> tuple[ClassScores, ...]:
    """A class with images that was never answered has precision 0, scikit-learn's ``zero_division=0``."""
    columns = precision_recall_fscore_support(
        labels, predicted, labels=np.arange(len(classes)), average=None, zero_division=0
    )
    return tuple(
        ClassScores(name, float(precision), float(recall), float(f1), int(support))
        if support
        else ClassScores(name, None, None, None, 0)
        for name, precision, recall, f1, support in zip(classes, *columns, strict=True)
    )


def _macro_averages(counts: Counts, scores: Sequence[ClassScores]) -> dict[str, Estimate]:
    present = [score for score in scores if score.support]
    precision, f1 = (
        float(np.mean([getattr(score, name) for score in present])) for name in ("precision", "f1")
    )
    resampled_precision, resampled_f1 = _resample(counts)
    recall = _mean_of_proportions(np.diag(counts), counts.sum(axis=1))
    return {
        "balanced_accuracy": recall,
        "macro_recall": recall,
        "macro_precision": _percentiles(precision, resampled_precision),
        "macro_f1": _percentiles(f1, resampled_f1),
    }


def _mean_of_proportions(successes: Counts, trials: Counts) -> Estimate:
    """The mean of independent proportions: Wilson's intervals combined by MOVER.

    Zou, Huang, Zhang: A note on confidence interval estimation for a linear function of binomial proportions,
    Computational Statistics & Data Analysis 53 (2009). Unlike a bootstrap's it stays open when all are right.
    """
    parts = [estimate_share(int(k), int(n)) for k, n in zip(successes, trials, strict=True) if n]
    values, lows, highs = np.array([(part.value, part.low, part.high) for part in parts], np.float64).T
    value = float(values.mean())
    below = float(np.sqrt(((values - lows) ** 2).sum())) / len(parts)
    above = float(np.sqrt(((highs - values) ** 2).sum())) / len(parts)
    return Estimate(value, max(0.0, value - below), min(1.0, value + above))


def _resample(counts: Counts) -> tuple[Floats, Floats]:
    """Macro precision and macro F1 of stratified bootstrap samples, each (RESAMPLES,).

    Drawing a class's images with replacement is drawing its row of the matrix from a multinomial, at a cost
    of the row's non-zero cells instead of its images.
    """
    generator = np.random.default_rng(RESAMPLING_SEED)
    support = counts.sum(axis=1)
    hits = np.zeros((RESAMPLES, len(counts)), np.int64)
    answered = np.zeros_like(hits)
    for index in np.flatnonzero(support):
        cells = np.flatnonzero(counts[index])
        drawn = generator.multinomial(support[index], counts[index, cells] / support[index], size=RESAMPLES)
        answered[:, cells] += drawn
        if index in cells:
            hits[:, index] = drawn[:, np.searchsorted(cells, index)]
    present = support > 0
    hits, answered, support = hits[:, present], answered[:, present], support[present]
    precision = hits / np.maximum(answered, 1)
    f1 = 2 * hits / (answered + support)
    return precision.mean(axis=1), f1.mean(axis=1)


def _percentiles(value: float, resampled: Floats) -> Estimate:
    """Samples that are all alike (no image was wrong) say nothing about certainty: no bounds then."""
    tail = (1 - CONFIDENCE_LEVEL) / 2
    low, high = (float(bound) for bound in np.quantile(resampled, (tail, 1 - tail)))
    if low == high:
        return Estimate(value, None, None)
    return Estimate(value, min(low, value), max(high, value))


def _top_k(labels: NDArray[np.integer[Any]], probabilities: NDArray[np.float32], k: int) -> TopK:
    of_label = np.take_along_axis(probabilities, labels[:, None], axis=1)
    lower_index = np.arange(probabilities.shape[1]) < labels[:, None]
    ahead = (probabilities > of_label) | ((probabilities == of_label) & lower_index)
    return TopK(k, float((ahead.sum(axis=1) < k).mean()))
