"""Whether the test images of a dataset that came split look as its training images do.

A classifier two-sample test (Lopez-Paz and Oquab 2017, https://arxiv.org/abs/1610.06545).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from app.datasets.examination.indexed import Indexed
from app.datasets.manifest import DatasetManifest
from app.features.judges import FOLDS, LinearJudge
from app.features.probe import scale_features

LEAST = 20
"""Images on each side."""


def measure_difference(
    manifest: DatasetManifest, known: Indexed, vectors: NDArray[np.float16], alive: Callable[[], None]
) -> float | None:
    """How often a test image is told from a training image of any class, 0.5 by chance (AUROC).

    ``vectors``: float16 (items, dimensions). What differs between classes is taken off before. None where the
    dataset did not come in train and test, or one side is too small.
    """
    labels, keys = known.labels, known.keys
    splits = np.array([item.split or "" for item in manifest.items])
    both = [label for label in np.unique(labels) if {"train", "test"} <= set(splits[labels == label])]
    rows = np.flatnonzero(np.isin(splits, ("train", "test")) & np.isin(labels, both))
    is_test = (splits[rows] == "test").astype(np.int64)
    sides = [keys[rows][is_test == side] for side in (0, 1)]
    if min(map(len, sides)) < LEAST or min(len(np.unique(side)) for side in sides) < FOLDS:
        return None
    features = np.asarray(vectors[rows], np.float32)
    for label in both:
        of_class = labels[rows] == label
        # The mean of both sides alike, or unequal shares of a class would tell them apart.
        means = [features[of_class & (is_test == side)].mean(axis=0) for side in (0, 1)]
        features[of_class] -= (means[0] + means[1]) / 2
    judge = LinearJudge(scale_features(features)[0], is_test, keys[rows], 2)
    answers = judge.judge(np.ones(len(rows), bool), alive)[:, 1]
    return float(roc_auc_score(is_test, answers))
