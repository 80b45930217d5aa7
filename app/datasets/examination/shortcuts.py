"""Classes that are recognised by what has nothing to do with them, which a network would learn instead.

"Shortcut learning in deep neural networks", Geirhos et al. 2020, https://arxiv.org/abs/2004.07780.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from app.datasets.examination.looks import Looks

LEAST = 10
"""Images of a class: with fewer, it is recognised by chance."""
SURE = 0.9
_FOLDS = 5
_TREE: dict[str, Any] = {
    "class_weight": "balanced",
    "max_depth": 6,
    "min_samples_leaf": 5,
    "random_state": 0,
}
_VIEWS = {
    "size": "size",
    "form": "file format",
    "weight": "file size for its pixels",
    "colour": "brightness or mean colour",
    "border": "border",
}
_MAY_BE_MEANT = ("weight", "colour", "border")
"""Things of two classes may differ in these, rough ones take more bytes; files that were stored alike do not
differ in the others.
"""


@dataclass(frozen=True)
class Shortcut:
    """``what``: of the images, in words. ``classes``: which are recognised by it, each in at least this share
    of its images (``recall``), while hardly any other image is taken for it. ``may_be_meant``: whether it may
    be the things of the class that look so.
    """

    what: str
    classes: tuple[int, ...]
    recall: float
    may_be_meant: bool


def find_shortcuts(looks: Looks, labels: NDArray[np.int64]) -> list[Shortcut]:
    """By small decision trees, each of one view alone, judged on images that they did not learn."""
    names, sizes = np.unique(labels, return_counts=True)
    judged = names[sizes >= LEAST]
    if len(judged) < 2:
        return []
    rows = np.flatnonzero(np.isin(labels, judged))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    found = []
    for view, what in _VIEWS.items():
        values = getattr(looks, view)[rows]
        answers = cross_val_predict(DecisionTreeClassifier(**_TREE), values, labels[rows], cv=folds)
        recalls = {
            int(label): recall
            for label in judged
            if (recall := _recall_if_sure(answers, labels[rows], int(label))) is not None
        }
        if recalls:
            found.append(Shortcut(what, tuple(recalls), min(recalls.values()), view in _MAY_BE_MEANT))
    return found


def _recall_if_sure(answers: NDArray[np.int64], labels: NDArray[np.int64], label: int) -> float | None:
    named, own = answers == label, labels == label
    right = int((named & own).sum())
    recall, precision = right / int(own.sum()), right / max(1, int(named.sum()))
    specificity = 1 - (int(named.sum()) - right) / int((~own).sum())
    return recall if min(recall, precision, specificity) >= SURE else None
