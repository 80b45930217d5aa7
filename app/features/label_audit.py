"""Which labels look wrong: by confident learning, with a second opinion.

Confident learning (Northcutt, Jiang and Chuang 2021, https://arxiv.org/abs/1911.00068): a classifier says of
each image, from others, how probable each class is. A class is meant with confidence where its probability is
at least the average that images of that class get for it. A label is suspect where the class that is meant so
is another one, and the nearest neighbours say the same class. Nearest by feature vectors or by pixels: the
one that gets more labels right. Networks know little of tiny drawings, pixels little of photos.

Where classes are hard to tell apart, many images look like another class though their labels are right. There
the label's own class must be nearly impossible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.features.judges import LinearJudge, NeighbourJudge
from app.features.outliers import LEAST
from app.features.probe import scale_features

PASSES = 2
"""The second learns from the labels that the first did not suspect."""
_ALWAYS_CONFIDENT = 0.9
"""Where classes are easily told apart, the average is so near 1 that half of all images lie below it."""
_CERTAIN = 0.0004
"""The probability of the label's own class is at most this over the square of the classifier's error rate:
0.01 at an error rate of 22 %, where 7 % of right labels would be suspected without; 0.16 at 5 %.
"""
_SAMPLED = 2000
_Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Suspect:
    """Row ``index`` looks like class ``meant``, with this probability; its label has that of ``own``."""

    index: int
    meant: int
    probability: float
    own: float


@dataclass(frozen=True)
class LabelAudit:
    """``suspects``: worst first. ``judged``: int (rows,), the images that a suspect label could be told of;
    ``answers``: int (rows,), the class that the linear classifier says of each, from all labels as they are.
    """

    suspects: tuple[Suspect, ...]
    judged: _Labels
    answers: _Labels


def audit_labels(
    vectors: NDArray[np.float16],
    labels: _Labels,
    keys: _Labels,
    thumbnails: NDArray[np.uint8],
    *,
    alive: Callable[[], None] = lambda: None,
) -> LabelAudit:
    """``vectors``: float16 (n, dimensions); ``labels``: int (n,). ``keys``: int (n,), what is nearly one
    image has one. ``thumbnails``: uint8 (n, height, width), small grey ones.

    ``alive`` is called between steps that take long, and may raise to leave.
    """
    names = np.unique(labels)
    known = [label for label in names if len(np.unique(keys[labels == label])) >= LEAST]
    if len(known) < 2:
        return LabelAudit((), np.zeros(0, np.int64), np.zeros(0, np.int64))
    rows = np.flatnonzero(np.isin(labels, known))
    classes, own = np.unique(labels[rows], return_inverse=True)
    pixels = thumbnails[rows].reshape(len(rows), -1).astype(np.float32)
    pixels -= pixels.mean(axis=1, keepdims=True)
    views = [NeighbourJudge(each, own, keys[rows]) for each in (vectors[rows], pixels)]
    found, answers = _find_suspects(
        np.asarray(vectors[rows], np.float32), own, keys[rows], views, len(classes), alive
    )
    suspects = [
        Suspect(int(rows[suspect.index]), int(classes[suspect.meant]), suspect.probability, suspect.own)
        for suspect in found
    ]
    worst_first = tuple(sorted(suspects, key=lambda each: each.own - each.probability))
    return LabelAudit(worst_first, rows, classes[answers])


def _find_suspects(
    features: NDArray[np.float32],
    own: _Labels,
    keys: _Labels,
    views: Sequence[NeighbourJudge],
    classes: int,
    alive: Callable[[], None],
) -> tuple[list[Suspect], _Labels]:
    """The suspects, and what the first pass answers, int (n,)."""
    scaled, _, _ = scale_features(features)
    linear, neighbours = LinearJudge(scaled, own, keys, classes), _choose(views, own, alive)
    trusted, wrong = np.ones(len(own), bool), np.zeros(0, np.int64)
    thresholds, most, found, answers = None, 1.0, list[Suspect](), own
    for _ in range(PASSES):
        probabilities = linear.judge(trusted, alive)
        if thresholds is None:  # Those of the second pass would be those of cleaner labels, and too high.
            means = [probabilities[own == label, label].mean() for label in range(classes)]
            thresholds = np.minimum(means, _ALWAYS_CONFIDENT)
            answers = probabilities.argmax(axis=1)
            errors = float((answers != own).mean())
            most = _CERTAIN / max(errors**2, _CERTAIN)
        confident = np.where(probabilities >= thresholds, probabilities, -1.0)
        meant = confident.argmax(axis=1)
        is_unlikely = probabilities[np.arange(len(own)), own] <= most
        doubtful = np.flatnonzero((confident.max(axis=1) > 0) & (meant != own) & is_unlikely)
        wrong = doubtful[neighbours.judge(doubtful, trusted, alive) == meant[doubtful]]
        found = [
            Suspect(row, label, float(probabilities[row, label]), float(probabilities[row, own[row]]))
            for row, label in zip(wrong.tolist(), meant[wrong].tolist(), strict=True)
        ]
        trusted = np.ones(len(own), bool)
        trusted[wrong] = False
        if min(np.bincount(own[trusted], minlength=classes)) < LEAST:
            break
    return found, answers


def _choose(views: Sequence[NeighbourJudge], own: _Labels, alive: Callable[[], None]) -> NeighbourJudge:
    sample = np.sort(np.random.default_rng(0).permutation(len(own))[:_SAMPLED])
    everything = np.ones(len(own), bool)
    right = [int((view.judge(sample, everything, alive) == own[sample]).sum()) for view in views]
    return views[int(np.argmax(right))]
