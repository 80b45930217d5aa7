"""What a random split would claim, and what is true.

A linear classifier is judged twice. Only the folds differ: by image, as a random split divides, and by what
must stay together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from app.datasets.examination.indexed import Indexed
from app.datasets.examination.report import Estimate, Honesty
from app.datasets.manifest import DatasetManifest
from app.datasets.split import split_dataset
from app.datasets.wholes import find_wholes
from app.errors import SplitError
from app.features.judges import LinearJudge
from app.features.label_audit import LabelAudit
from app.features.probe import scale_features
from app.schemas.hyperparameters import SplitSettings

SEEDS = 5
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Judged:
    """``answers``: int (rows,), the class that others say of each judged image; ``rows``: which these are."""

    rows: NDArray[np.int64]
    answers: NDArray[np.int64]
    honesty: Honesty | None


def judge_honestly(
    manifest: DatasetManifest,
    known: Indexed,
    vectors: NDArray[np.float16],
    audit: LabelAudit,
    alive: Callable[[], None],
) -> Judged | None:
    """``vectors``: float16 (items, dimensions). ``audit``: of these; what its classifier gets right is true.

    None where too few classes have enough different images. Other classes that have too few are left out.
    """
    rows = audit.judged
    if not len(rows):
        return None
    labels, keys = known.labels[rows], known.keys[rows]
    honesty = None
    copies = np.unique([manifest.items[row].sha256 for row in rows], return_inverse=True)[1]
    if len(np.unique(keys)) < copies.max() + 1:
        images, shared = count_shared(manifest)
        if images:
            honesty = Honesty(
                test_images=images,
                shared_images=shared,
                claimed=estimate(_answer(vectors[rows], labels, copies, alive) == labels, copies),
                true=estimate(audit.answers == labels, keys),
            )
    return Judged(rows, audit.answers, honesty)


def _answer(
    vectors: NDArray[np.float16],
    labels: NDArray[np.int64],
    together: NDArray[np.int64],
    alive: Callable[[], None],
) -> NDArray[np.int64]:
    """The class that others say of each image, int (n,). ``together``: int (n,), held out together."""
    features = scale_features(np.asarray(vectors, np.float32))[0]
    names, own = np.unique(labels, return_inverse=True)
    judge = LinearJudge(features, own, together, len(names))
    answers: NDArray[np.int64] = names[judge.judge(np.ones(len(own), bool), alive).argmax(axis=1)]
    return answers


def count_shared(manifest: DatasetManifest) -> tuple[int, int]:
    """Of splits that ignore groups: images in test, and those of them that share something with training.

    Both are means over some seeds, and 0 if no random split can be made.
    """
    tests, shared = [], []
    wholes = dict(zip([item.id for item in manifest.items], find_wholes(manifest.items), strict=True))
    for seed in range(SEEDS):
        try:
            split = split_dataset(_unsplit(manifest), SplitSettings(ignore_groups=True), seed)
        except SplitError:
            return 0, 0
        learned = {wholes[item] for item, name in split.items() if name != "test"}
        tested = [item for item, name in split.items() if name == "test"]
        tests.append(len(tested))
        shared.append(sum(wholes[item] in learned for item in tested))
    return round(float(np.mean(tests))), round(float(np.mean(shared)))


def _unsplit(manifest: DatasetManifest) -> DatasetManifest:
    return replace(manifest, items=tuple(replace(item, split=None) for item in manifest.items))


def estimate(right: NDArray[np.bool_], keys: NDArray[np.int64]) -> Estimate:
    """An accuracy with Wilson's interval, for as many images as the groups are worth.

    Images of one group are right or wrong together, so they say less than as many different ones (Kish 1965,
    "Survey Sampling": the design effect).
    """
    number, accuracy = len(right), float(right.mean())
    groups = np.unique(keys, return_inverse=True)[1]
    surplus = np.bincount(groups, weights=right - accuracy)
    variance, simple = float((surplus**2).sum()) / number**2, accuracy * (1 - accuracy) / number
    effect = max(1.0, variance / simple) if simple > 0 else number / len(surplus)
    worth = max(1, round(number / effect))
    interval = binomtest(round(accuracy * worth), worth).proportion_ci(_CONFIDENCE, method="wilson")
    low, high = min(float(interval.low), accuracy), max(float(interval.high), accuracy)
    return Estimate(value=round(accuracy, 4), low=round(low, 4), high=round(high, 4))
