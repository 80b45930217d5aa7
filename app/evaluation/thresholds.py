"""Which answers may be accepted so that, of these, hardly more than a given share is wrong.

The images of the validation split have to say it, which is small, so three things must not flatter: the
threshold must not be tested on the images it was chosen by (cross-fitting: each fold is judged by a threshold
of the others), the epoch was chosen by these very images (the level of error is divided by the epochs that
were tried, Bonferroni), and images that show the same thing are one witness, not many.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc

from app.artifacts import Threshold
from app.evaluation.calibration import assign_folds

CONFIDENCE_LEVEL = 0.95
FOLDS = 10
LADDER = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3)
"""The shares of errors that a threshold is looked for."""

Floats = NDArray[np.float64]


def fit_thresholds(
    confidence: Floats, is_right: NDArray[np.bool_], wholes: Sequence[str], *, tried: int = 1
) -> tuple[Threshold, ...]:
    """The thresholds of those shares of ``LADDER`` that can be promised at ``CONFIDENCE_LEVEL``.

    ``confidence``: the probability of each answer, (n,); ``is_right``: whether it was; ``wholes``: as of
    ``fit_temperature``; ``tried``: how many models these images have chosen from. None without images.
    """
    if len(confidence) == 0:
        return ()
    level = (1 - CONFIDENCE_LEVEL) / tried
    folds = assign_folds(wholes, FOLDS)
    weights = _weigh(wholes)
    found = []
    for max_error in LADDER:
        threshold = _fit_threshold(confidence, is_right, weights, folds, max_error, level)
        if threshold is not None:
            found.append(threshold)
    return tuple(found)


def holds(
    errors: Floats | float, images: Floats | float, max_error: float, level: float
) -> NDArray[np.bool_]:
    """Whether Clopper and Pearson's interval of ``errors`` / ``images`` ends at ``max_error`` or below.

    Its upper end is too low in at most ``level`` of all cases: The use of confidence or fiducial limits
    illustrated in the case of the binomial, Biometrika 26 (1934). Counts need not be whole.
    """
    errors, images = np.asarray(errors, np.float64), np.asarray(images, np.float64)
    right = images - errors
    # betainc(e + 1, n - e, p) is the chance of more than e errors among n if p of all answers are wrong.
    chance = betainc(errors + 1, np.maximum(right, 1e-9), max_error)
    kept: NDArray[np.bool_] = (right > 0) & (chance >= 1 - level)
    return kept


def _fit_threshold(
    confidence: Floats,
    is_right: NDArray[np.bool_],
    weights: Floats,
    folds: NDArray[np.int64],
    max_error: float,
    level: float,
) -> Threshold | None:
    thresholds = [_choose(confidence, is_right, weights, max_error, level)]
    images = errors = 0.0
    for fold in np.unique(folds):
        held_out = folds == fold
        rest = ~held_out
        # As if the rest were all the images: what passes must pass with all of them.
        scale = weights.sum() / max(float(weights[rest].sum()), 1e-9)
        thresholds.append(_choose(confidence[rest], is_right[rest], weights[rest] * scale, max_error, level))
        accepted = held_out & (confidence > thresholds[-1])
        images += float(weights[accepted].sum())
        errors += float(weights[accepted & ~is_right].sum())
    if images == 0 or not holds(errors, images, max_error, level):
        return None
    # Of those that were judged the strictest: the risk falls with the threshold.
    probability = max(thresholds)
    coverage = float((confidence > probability).mean())
    return Threshold(max_error, float(probability), coverage, images, errors) if coverage else None


def _choose(
    confidence: Floats, is_right: NDArray[np.bool_], weights: Floats, max_error: float, level: float
) -> float:
    """The lowest threshold by which the images themselves seem to keep the promise; infinity if none does."""
    order = np.argsort(-confidence, kind="stable")
    images = np.cumsum(weights[order])
    errors = np.cumsum((weights * ~is_right)[order])
    # Errors vary from sample to sample by about their root: what holds by a hair here would fail there.
    keeps = holds(errors + np.sqrt(errors), images, max_error, level)
    ranked = confidence[order]
    keeps[:-1] &= ranked[:-1] > ranked[1:]  # equal ones cannot be told apart
    passing = np.flatnonzero(keeps)
    if passing.size == 0:
        return math.inf
    last = passing[-1]
    return 0.0 if last == len(ranked) - 1 else float(ranked[last + 1])


def _weigh(wholes: Sequence[str]) -> Floats:
    """One over the number of images that show the same thing."""
    images = Counter(wholes)
    return np.array([1 / images[whole] for whole in wholes])
