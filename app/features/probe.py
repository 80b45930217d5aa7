"""A linear probe: multinomial logistic regression on the features of a frozen network.

How much its weights are held small is chosen by cross-validation on the train split: the value with the
lowest log loss over the folds. Images of one group, and copies, are in one fold.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

Features = NDArray[np.float32]
Labels = NDArray[np.int64]

STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""Inverse strengths of the penalty, C of scikit-learn, for features of unit variance."""
USUAL = 1e-2
"""Taken where a class has too few groups to be in each fold."""
FOLDS = 3
MOST_TO_CHOOSE_ON = 4000
"""Images: a choice that more would hardly change should not take longer than the probe."""
_TO_CHOOSE: dict[str, Any] = {"tol": 1e-3, "max_iter": 200, "warm_start": True}
_TO_KEEP: dict[str, Any] = {"tol": 1e-5, "max_iter": 1000}


@dataclass(frozen=True)
class Probe:
    """``kernel`` float32 (dimensions, classes), ``bias`` float32 (classes,); ``strength``: the C chosen."""

    kernel: Features
    bias: Features
    strength: float

    def predict(self, features: Features) -> Features:
        """Probabilities, float32 (n, classes), of features, float32 (n, dimensions)."""
        logits = features @ self.kernel + self.bias
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: Features = (exponents / exponents.sum(axis=1, keepdims=True)).astype(np.float32)
        return probabilities


def fit_probe(
    features: Features,
    labels: Labels,
    groups: Sequence[str],
    class_weights: NDArray[np.float32],
    *,
    seed: int,
    alive: Callable[[], None] = lambda: None,
) -> Probe:
    """Fits ``features``, float32 (n, dimensions), to ``labels``, int (n,), each a class of ``class_weights``.

    ``groups``: what must be in one fold. ``alive`` is called between fits, and may raise to leave.
    """
    scaled, mean, scale = scale_features(features)
    weights = class_weights[labels]
    # The products are thin, and threads of the library wait for each other: two take up to ten times as long.
    with threadpool_limits(1):
        strength = choose_strength(
            scaled, labels, groups, weights, len(class_weights), seed=seed, alive=alive
        )
        kernel, bias = fit_scaled(scaled, labels, weights, strength)
    alive()
    kernel = kernel / scale[:, np.newaxis]
    return Probe(
        kernel.astype(np.float32), (bias - mean.astype(np.float64) @ kernel).astype(np.float32), strength
    )


def scale_features(features: Features) -> tuple[Features, Features, Features]:
    """The features at mean 0 and variance 1, float32 (n, dimensions); their mean and deviation before."""
    mean, scale = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    return (features - mean) / scale, mean, scale


def choose_strength(
    features: Features,
    labels: Labels,
    groups: Sequence[str],
    weights: NDArray[np.float32],
    classes: int,
    *,
    seed: int,
    alive: Callable[[], None],
) -> float:
    """The one of STRENGTHS with the lowest log loss in cross-validation, for scaled features."""
    chosen = np.sort(np.random.default_rng(seed).permutation(len(labels))[:MOST_TO_CHOOSE_ON])
    features, labels, weights = features[chosen], labels[chosen], weights[chosen]
    keys = np.unique([groups[index] for index in chosen], return_inverse=True)[1]
    different = [len(np.unique(keys[labels == label])) for label in range(classes)]
    if min(different) < FOLDS:
        return USUAL
    losses = np.zeros(len(STRENGTHS))
    for train, held_out in StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(
        features, labels, keys
    ):
        if len(np.unique(labels[train])) < classes or not len(held_out):
            return USUAL
        # From the strongest penalty to the weakest, each from where the one before ended: a few steps each.
        model = LogisticRegression(**_TO_CHOOSE)
        for number, strength in enumerate(STRENGTHS):
            model.C = strength
            model.fit(features[train], labels[train], sample_weight=weights[train])
            predicted = model.predict_proba(features[held_out])
            losses[number] += log_loss(
                labels[held_out],
                predicted,
                labels=np.arange(classes),
                sample_weight=weights[held_out],
                normalize=False,
            )
            alive()
    return STRENGTHS[int(losses.argmin())]


def fit_scaled(
    features: Features, labels: Labels, weights: NDArray[np.float32], strength: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Kernel (dimensions, classes) and bias (classes,), for the classes in ``labels`` in their order."""
    model: Any = LogisticRegression(C=strength, **_TO_KEEP)
    model.fit(features, labels, sample_weight=weights)
    kernel, bias = np.asarray(model.coef_.T, np.float64), np.asarray(model.intercept_, np.float64)
    if kernel.shape[1] == 1:  # Of two classes scikit-learn keeps the second one's odds alone.
        kernel = np.concatenate([np.zeros_like(kernel), kernel], axis=1)
        bias = np.concatenate([np.zeros_like(bias), bias])
    return kernel, bias
