"""How many answers to labelled images are accepted, and how many of these are wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.artifacts import Decision
from app.evaluation.figures import Selection
from app.evaluation.metrics import estimate_share
from app.inference.decision import Verdict, choose_threshold


def measure_selection(
    verdicts: Sequence[Verdict], is_right: NDArray[np.bool_], decision: Decision, max_error: float
) -> Selection:
    """Of each image its verdict and whether its answer is right, (n,)."""
    accepted = np.array([verdict.is_accepted for verdict in verdicts], bool)
    wrong = int((accepted & ~is_right).sum())
    reasons: Counter[Any] = Counter(verdict.reject_reason for verdict in verdicts if not verdict.is_accepted)
    threshold = choose_threshold(decision, max_error)
    return Selection(
        max_error=max_error,
        promised=None if threshold is None else threshold.max_error,
        accepted=int(accepted.sum()),
        wrong=wrong,
        coverage=estimate_share(int(accepted.sum()), len(accepted)),
        error=estimate_share(wrong, int(accepted.sum())) if accepted.any() else None,
        rejected=dict(sorted(reasons.items())),
    )
