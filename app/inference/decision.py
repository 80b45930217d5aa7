"""Whether an answer is accepted: the one rule, for a prediction, a batch and an evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from app.artifacts.manifest import Decision, Threshold

RejectReason = Literal["out_of_distribution", "ambiguous", "low_confidence"]


@dataclass(frozen=True)
class Verdict:
    """``margin``: how far the most probable class is ahead of the next. ``similarity``: None where the model
    has no features to compare.
    """

    reject_reason: RejectReason | None
    confidence: float
    margin: float
    similarity: float | None

    @property
    def is_accepted(self) -> bool:
        return self.reject_reason is None


def choose_threshold(decision: Decision, max_error: float) -> Threshold | None:
    """The threshold that keeps ``max_error``; where none does, the one that promises most, if any."""
    keeping = [threshold for threshold in decision.thresholds if threshold.max_error <= max_error]
    return keeping[-1] if keeping else next(iter(decision.thresholds), None)


def images_needed(max_error: float, *, tried: int, confidence_level: float) -> int:
    """How many accepted images without an error it takes to promise ``max_error``: 299 for 1 % at 95 %.

    ``tried``: how many models these images have chosen from.
    """
    return math.ceil(math.log((1 - confidence_level) / tried) / math.log1p(-max_error))


def judge(
    probabilities: NDArray[np.floating[Any]],
    similarity: float | None,
    decision: Decision,
    threshold: Threshold | None,
) -> Verdict:
    """Judges one answer: ``probabilities``, (classes,), as served. ``threshold``: as chosen above."""
    second, first = np.partition(probabilities, -2)[-2:].tolist()
    least = threshold.probability if threshold is not None else 0.0
    reason: RejectReason | None = None
    if similarity is not None and decision.similarity is not None and similarity < decision.similarity:
        reason = "out_of_distribution"
    elif first <= least:
        # One of two, surely, but not which.
        reason = "ambiguous" if first + second > least else "low_confidence"
    return Verdict(reason, first, first - second, similarity)
