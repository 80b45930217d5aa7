"""Shares of images and what sets two of them apart, without the libraries that take seconds to load."""

from __future__ import annotations

import math

from app.schemas.common import Estimate

_Z = 1.959963984540054
"""Of the normal distribution, for 95 %."""


def wilson(share: float, trials: int) -> Estimate:
    """Wilson's 95 % score interval: Probable inference, the law of succession, JASA 22 (1927)."""
    if trials == 0:
        return Estimate(value=share, low=0.0, high=1.0)
    middle = share + _Z**2 / (2 * trials)
    spread = _Z * math.sqrt(share * (1 - share) / trials + _Z**2 / (4 * trials**2))
    scale = 1 + _Z**2 / trials
    return Estimate(
        value=share,
        low=max(0.0, (middle - spread) / scale),
        high=min(1.0, (middle + spread) / scale),
    )


def mcnemar(only_first: int, only_second: int) -> float:
    """The chance of a difference as large as this between two models that are equally good, two-sided, exact.

    Given the images that just one of both answers rightly. McNemar: Note on the sampling error of the
    difference between correlated proportions, Psychometrika 12 (1947).
    """
    trials, fewer = only_first + only_second, min(only_first, only_second)
    # By logarithms: 2 to the power of some thousand is no float.
    halves = trials * math.log(2)
    terms = (
        math.exp(math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1) - halves)
        for k in range(fewer + 1)
    )
    return min(1.0, 2 * math.fsum(terms))
