"""Shares of images and what sets two of them apart, without the libraries that take seconds to load."""

from __future__ import annotations

import math

from app.schemas.common import Estimate

MOST_TRIALS = 2000
_Z = 1.959963984540054
"""Of the normal distribution, for 95 %."""
SIGNIFICANCE = 0.05
FEWEST_DIFFERENCES = 6
"""Of five answers that differ, all in favour of one model, chance is still 1 in 16."""


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


def predict_share(share: float, worth: float, trials: int) -> Estimate:
    """Where the share of ``trials`` will lie, with 95 %, after a ``share`` of a sample that is worth so many.

    The quantiles of the beta-binomial distribution, with Jeffreys' prior: the chance of the share itself, and
    that of the trials. Of more than ``MOST_TRIALS`` the second is that of so many.
    """
    trials = max(1, min(trials, MOST_TRIALS))
    right, wrong = share * worth + 0.5, (1 - share) * worth + 0.5
    whole = _log_beta(right, wrong)
    below, low, high = 0.0, 0, trials
    for k in range(trials + 1):
        chosen = math.lgamma(trials + 1) - math.lgamma(k + 1) - math.lgamma(trials - k + 1)
        chance = math.exp(chosen + _log_beta(right + k, wrong + trials - k) - whole)
        if below + chance <= 0.025:
            low = k + 1
        below += chance
        if below >= 0.975:
            high = k
            break
    return Estimate(value=share, low=low / trials, high=high / trials)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


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
