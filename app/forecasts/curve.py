"""How accurate a linear classifier becomes with the images that there are, and with twice as many.

A learning curve: on the features of a pretrained network, classifiers are fitted to 25, 50, 75 and 100 % of
the images and judged by images that they have not seen, in folds which keep together what shows one thing.
The error is taken to fall as a power of the number of images (Hestness et al. 2017, arXiv:1712.00409), whose
exponent is found by least squares on logarithms, and its interval by a bootstrap over what shows one thing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from app.features.probe import choose_strength, fit_scaled, scale_features

Features = NDArray[np.float32]
Labels = NDArray[np.int64]
Floats = NDArray[np.float64]

FRACTIONS = (0.25, 0.5, 0.75, 1.0)
FOLDS, FEWEST_FOLDS = 5, 2
RESAMPLES = 400
_STEEPEST = 1.0
"""An error falls at most with the number of images itself."""


class TooFewImagesError(ValueError):
    """``label``: the class that cannot be divided among two folds."""

    def __init__(self, label: int) -> None:
        super().__init__(f"class {label} shows fewer than {FEWEST_FOLDS} different things")
        self.label = label


@dataclass(frozen=True)
class LearningCurve:
    """``images``: those that each point learned from, on average; ``accuracies``: of those left out.

    ``judged``: images that the points are of, worth ``worth`` independent ones. ``doubled``: the accuracy
    that twice the images should bring, and the interval of 95 % around it.
    """

    images: tuple[int, ...]
    accuracies: tuple[float, ...]
    judged: int
    worth: float
    doubled: tuple[float, float, float]


def draw_curve(
    features: Features,
    labels: Labels,
    wholes: Sequence[str],
    classes: int,
    *,
    seed: int,
    seconds: float,
    clock: Callable[[], float] = time.process_time,
) -> LearningCurve:
    """``features``: float32 (n, dimensions). ``labels``: int (n,), below ``classes``. ``wholes``: a key each;
    what shares one is in one fold.

    After about ``seconds`` no further fold is begun; the curve is then of the images judged so far. Raises
    TooFewImagesError.
    """
    began = clock()
    keys = np.unique(wholes, return_inverse=True)[1].astype(np.int64)
    folds = _count_folds(labels, keys, classes)
    weights = np.ones(len(labels), np.float32)
    right = np.full((len(FRACTIONS), len(labels)), -1, np.int8)
    sizes = np.zeros(len(FRACTIONS))
    divided = StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(features, labels, keys)
    done = 0
    with threadpool_limits(1):
        strength = choose_strength(
            scale_features(features)[0],
            labels,
            wholes,
            weights,
            classes,
            seed=seed,
            alive=lambda: None,
        )
        for train, held_out in divided:
            order = _shuffle_wholes(keys[train], seed)
            for row, fraction in enumerate(FRACTIONS):
                chosen = train[order[: max(2, round(fraction * len(train)))]]
                sizes[row] += len(chosen)
                answers = _answer(features, labels, weights, chosen, held_out, strength)
                right[row, held_out] = answers == labels[held_out]
            done += 1
            if clock() - began > seconds:
                break
    judged = right[0] >= 0
    return _describe(right[:, judged] == 1, keys[judged], sizes / done, seed)


def _count_folds(labels: Labels, keys: Labels, classes: int) -> int:
    different = [len(np.unique(keys[labels == label])) for label in range(classes)]
    fewest = int(np.argmin(different))
    if different[fewest] < FEWEST_FOLDS:
        raise TooFewImagesError(fewest)
    return min(FOLDS, different[fewest])


def _shuffle_wholes(keys: Labels, seed: int) -> Labels:
    """Positions in an order that has the images of one whole one after the other."""
    rank = np.random.default_rng(seed).permutation(int(keys.max()) + 1)
    return np.argsort(rank[keys], kind="stable")


def _answer(
    features: Features, labels: Labels, weights: Features, train: Labels, held_out: Labels, strength: float
) -> Labels:
    """The classes that a classifier of some images gives others, int (held_out,)."""
    known = np.unique(labels[train])
    if len(known) == 1:
        return np.full(len(held_out), known[0])
    scaled, mean, scale = scale_features(features[train])
    kernel, bias = fit_scaled(scaled, labels[train], weights[train], strength)
    logits = (features[held_out] - mean) / scale @ kernel + bias
    found: Labels = known[logits.argmax(axis=1)]
    return found


def _describe(right: NDArray[np.bool_], keys: Labels, sizes: Floats, seed: int) -> LearningCurve:
    """``right``: bool (fractions, n)."""
    accuracies = right.mean(axis=1)
    _, positions = np.unique(keys, return_inverse=True)
    groups = int(positions.max()) + 1
    counts = np.bincount(positions, minlength=groups).astype(np.float64)
    hits = np.stack([np.bincount(positions, row, minlength=groups) for row in right])
    drawn = np.random.default_rng(seed).multinomial(groups, np.full(groups, 1 / groups), RESAMPLES)
    resampled = (drawn @ hits.T) / (drawn @ counts)[:, np.newaxis]  # (resamples, fractions)
    images = right.shape[1]
    doubled = 1 - _double(1 - accuracies[np.newaxis], sizes, images)
    of_resamples = 1 - _double(1 - resampled, sizes, images)
    low, high = np.quantile(of_resamples, (0.025, 0.975))
    # A curve may have come to its end: then more images bring nothing.
    low = min(low, np.quantile(resampled[:, -1], 0.025))
    last = float(accuracies[-1])
    independent = last * (1 - last) / images
    worth = images if independent == 0 else images * independent / max(independent, resampled[:, -1].var())
    return LearningCurve(
        images=tuple(round(size) for size in sizes),
        accuracies=tuple(float(value) for value in accuracies),
        judged=images,
        worth=float(worth),
        doubled=(float(doubled[0]), float(min(low, doubled[0])), float(max(high, doubled[0]))),
    )


def _double(errors: Floats, sizes: Floats, images: int) -> Floats:
    """The error at twice the last size, of curves (n, fractions)."""
    logs = np.log((errors * images + 0.5) / (images + 1))
    x = np.log(sizes) - np.log(sizes).mean()
    slopes = (logs @ x) / (x @ x)
    falls = 2.0 ** np.clip(slopes, -_STEEPEST, 0.0)
    doubled: Floats = errors[:, -1] * falls
    return doubled
