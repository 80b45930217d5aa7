from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.features.label_audit import LEAST, audit_labels

Vectors = NDArray[np.float16]
Labels = NDArray[np.int64]


def make(n: int, classes: int = 4, *, spread: float = 0.6) -> tuple[Vectors, Labels, list[str]]:
    """Vectors around a centre for each class, as the features of a network lie."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    centres = rng.random((classes, 64))
    vectors = np.abs(centres[labels] + spread * rng.normal(size=(n, 64)) * 0.5).astype(np.float16)
    return vectors, labels, [str(number) for number in range(n)]


@pytest.mark.parametrize("classes", [2, 4, 9])
def test_most_swapped_labels_are_found_and_nothing_else(classes: int) -> None:
    vectors, labels, groups = make(400, classes)
    rng = np.random.default_rng(1)
    swapped = rng.choice(400, 20, replace=False)
    noisy = labels.copy()
    noisy[swapped] = (noisy[swapped] + rng.integers(1, classes, 20)) % classes
    audit = audit_labels(vectors, noisy, groups)
    found = {suspect.index for suspect in audit.suspects}
    assert len(found & set(swapped.tolist())) >= 16
    assert len(found - set(swapped.tolist())) <= 1
    right = [suspect for suspect in audit.suspects if suspect.index in swapped]
    assert all(suspect.meant == labels[suspect.index] for suspect in right)
    assert all(suspect.probability > suspect.own for suspect in right)
    surprise = [suspect.own - suspect.probability for suspect in audit.suspects]
    assert surprise == sorted(surprise)


def test_labels_that_are_right_are_not_suspected() -> None:
    audit = audit_labels(*make(400))
    assert len(audit.suspects) <= 4
    assert len(audit.outliers) <= 4
    assert audit.judged == 400


def test_an_image_unlike_all_others_of_its_class_is_an_outlier() -> None:
    vectors, labels, groups = make(200)
    vectors[7] = 0
    vectors[7, :3] = 5
    assert audit_labels(vectors, labels, groups).outliers[0].index == 7


def test_images_of_one_group_do_not_vouch_for_each_other() -> None:
    vectors, labels, groups = make(200)
    wrong = np.arange(0, 24, 4)  # six shots of one thing, all of class 0, that show what class 1 shows
    vectors[wrong] = vectors[1]
    groups = ["one thing" if number in wrong else key for number, key in enumerate(groups)]
    found = {suspect.index for suspect in audit_labels(vectors, labels, groups).suspects}
    assert set(wrong.tolist()) <= found
    alone = {
        suspect.index for suspect in audit_labels(vectors, labels, [str(n) for n in range(200)]).suspects
    }
    assert not set(wrong.tolist()) <= alone


@pytest.mark.parametrize("sizes", [(LEAST - 1, 40, 40), (40,), (3, 2)])
def test_a_class_of_few_images_is_not_judged(sizes: tuple[int, ...]) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    vectors = np.random.default_rng(0).random((len(labels), 16)).astype(np.float16)
    audit = audit_labels(vectors, labels, [str(number) for number in range(len(labels))])
    judged = sum(size for size in sizes if size >= LEAST) if len(sizes) > 1 else 0
    assert audit.judged == judged
    assert all(labels[suspect.index] != 0 for suspect in audit.suspects) or sizes[0] >= LEAST


def test_whoever_waits_can_leave() -> None:
    class Left(Exception):
        pass

    def leave() -> None:
        raise Left

    with pytest.raises(Left):
        audit_labels(*make(100), alive=leave)
