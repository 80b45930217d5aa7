"""Which labels look wrong, and which images look like no other of their class: from feature vectors alone.

Labels by confident learning (Northcutt, Jiang and Chuang 2021, https://arxiv.org/abs/1911.00068): a linear
probe says of each image, from the others, how probable each class is. A class is meant with confidence where
its probability is at least the average that images of that class get for it; a label is suspect where the
class that is meant so is another one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from app.features.probe import choose_strength, fit_scaled, scale_features

FOLDS = 5
LEAST = 5
"""Images of a class, in as many groups: with fewer, nothing can be said of it."""
PASSES = 2
"""The second learns from the labels that the first did not suspect."""
_BLOCK = 1024
_FAR = 3.0
"""An image is far if its nearest is less alike than that of others by so many interquartile ranges."""


@dataclass(frozen=True)
class Suspect:
    """Row ``index`` looks like class ``meant``, with this probability; its label has that of ``own``."""

    index: int
    meant: int
    probability: float
    own: float


@dataclass(frozen=True)
class Outlier:
    """Row ``index``: the cosine to the nearest image of its class, of other groups, is ``similarity``."""

    index: int
    similarity: float


@dataclass(frozen=True)
class LabelAudit:
    """Worst first. ``judged``: how many images a suspect label could be told of."""

    suspects: tuple[Suspect, ...]
    outliers: tuple[Outlier, ...]
    judged: int


def audit_labels(
    vectors: NDArray[np.float16],
    labels: NDArray[np.int64],
    groups: Sequence[str],
    *,
    alive: Callable[[], None] = lambda: None,
) -> LabelAudit:
    """``vectors``: float16 (n, dimensions); ``labels``: int (n,). ``groups``: what is nearly one image.

    ``alive`` is called between steps that take long, and may raise to leave.
    """
    keys = np.unique(np.asarray(groups), return_inverse=True)[1]
    judged = _well_known(labels, keys)
    suspects: list[Suspect] = []
    if len(np.unique(labels[judged])) > 1:
        rows = np.flatnonzero(judged)
        suspects = _find_suspects(
            np.asarray(vectors[rows], np.float32), labels[rows], keys[rows], rows, alive
        )
    outliers = _find_outliers(vectors, labels, keys, alive)
    return LabelAudit(
        tuple(suspects), tuple(outliers), int(judged.sum()) if len(np.unique(labels)) > 1 else 0
    )


def _well_known(labels: NDArray[np.int64], keys: NDArray[np.int64]) -> NDArray[np.bool_]:
    known = [label for label in np.unique(labels) if len(np.unique(keys[labels == label])) >= LEAST]
    mask: NDArray[np.bool_] = np.isin(labels, known)
    return mask


def _find_suspects(
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    keys: NDArray[np.int64],
    rows: NDArray[np.int64],
    alive: Callable[[], None],
) -> list[Suspect]:
    classes, own = np.unique(labels, return_inverse=True)
    scaled, _, _ = scale_features(features)
    even = np.ones(len(labels), np.float32)
    names = [str(key) for key in keys]
    strength = choose_strength(scaled, own, names, even, len(classes), seed=0, alive=alive)
    trusted, thresholds = np.ones(len(labels), bool), None
    for _ in range(PASSES):
        probabilities = _predict_others(scaled, own, keys, trusted, len(classes), strength, alive)
        if thresholds is None:  # Those of the second pass would be those of cleaner labels, and too high.
            thresholds = np.array(
                [probabilities[own == label, label].mean() for label in range(len(classes))]
            )
        confident = np.where(probabilities >= thresholds, probabilities, -1.0)
        meant = confident.argmax(axis=1)
        is_wrong = (confident.max(axis=1) > 0) & (meant != own)
        if min(np.bincount(own[~is_wrong], minlength=len(classes))) < LEAST:
            break
        trusted = ~is_wrong
    wrong = np.flatnonzero(is_wrong)
    found = [
        Suspect(
            int(rows[row]),
            int(classes[meant[row]]),
            float(probabilities[row, meant[row]]),
            float(probabilities[row, own[row]]),
        )
        for row in wrong
    ]
    return sorted(found, key=lambda suspect: suspect.own - suspect.probability)


def _predict_others(
    scaled: NDArray[np.float32],
    own: NDArray[np.int64],
    keys: NDArray[np.int64],
    trusted: NDArray[np.bool_],
    classes: int,
    strength: float,
    alive: Callable[[], None],
) -> NDArray[np.float64]:
    """Probabilities (n, classes) of each image, by a probe on trusted labels of other folds."""
    probabilities = np.zeros((len(own), classes))
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    for others, held_out in folds.split(scaled, own, keys):
        train = others[trusted[others]]
        kernel, bias = fit_scaled(scaled[train], own[train], np.ones(len(train), np.float32), strength)
        logits = scaled[held_out] @ kernel + bias
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        seen = np.unique(own[train])
        probabilities[np.ix_(held_out, seen)] = exponents / exponents.sum(axis=1, keepdims=True)
        alive()
    return probabilities


def _find_outliers(
    vectors: NDArray[np.float16],
    labels: NDArray[np.int64],
    keys: NDArray[np.int64],
    alive: Callable[[], None],
) -> list[Outlier]:
    nearest = np.full(len(labels), np.nan)
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        if len(np.unique(keys[members])) < LEAST:
            continue
        units = np.asarray(vectors[members], np.float32)
        units /= np.maximum(np.linalg.norm(units, axis=1, keepdims=True), 1e-12)
        for start in range(0, len(members), _BLOCK):
            block = slice(start, start + _BLOCK)
            cosines = units[block] @ units.T
            cosines[keys[members[block], np.newaxis] == keys[members]] = -1
            nearest[members[block]] = cosines.max(axis=1)
            alive()
    known = nearest[~np.isnan(nearest)]
    if len(known) < 4 * LEAST:
        return []
    low, high = np.quantile(known, [0.25, 0.75])
    limit = low - _FAR * (high - low)
    far = np.flatnonzero(nearest < limit)
    return [Outlier(int(index), float(nearest[index])) for index in far[np.argsort(nearest[far])]]
