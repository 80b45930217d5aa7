from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.features.label_audit import audit_labels
from app.features.outliers import LEAST

Labels = NDArray[np.int64]
Given = tuple[NDArray[np.float16], Labels, Labels, NDArray[np.uint8]]


def make(n: int, classes: int = 4, *, spread: float = 0.3) -> Given:
    """Vectors around a centre for each class, as the features of a network lie; thumbnails of noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    centres = rng.random((classes, 64))
    vectors = np.abs(centres[labels] + spread * rng.normal(size=(n, 64))).astype(np.float16)
    return vectors, labels, np.arange(n), rng.integers(0, 256, (n, 32, 32), np.uint8)


def swap(labels: Labels, number: int, classes: int) -> tuple[Labels, set[int]]:
    rng = np.random.default_rng(1)
    swapped = rng.choice(len(labels), number, replace=False)
    noisy = labels.copy()
    noisy[swapped] = (noisy[swapped] + rng.integers(1, classes, number)) % classes
    return noisy, set(swapped.tolist())


@pytest.mark.parametrize("classes", [2, 4, 9])
def test_most_swapped_labels_are_found_and_nothing_else(classes: int) -> None:
    vectors, labels, keys, thumbnails = make(400, classes)
    noisy, swapped = swap(labels, 20, classes)
    audit = audit_labels(vectors, noisy, keys, thumbnails)
    found = {suspect.index for suspect in audit.suspects}
    assert len(found & swapped) >= 16
    assert len(found - swapped) <= 1
    right = [suspect for suspect in audit.suspects if suspect.index in swapped]
    assert all(suspect.meant == labels[suspect.index] for suspect in right)
    assert all(suspect.probability > suspect.own for suspect in right)
    surprise = [suspect.own - suspect.probability for suspect in audit.suspects]
    assert surprise == sorted(surprise)


def test_pixels_are_asked_where_they_say_more_than_vectors() -> None:
    vectors, labels, keys, _ = make(600, spread=0.7)
    rng = np.random.default_rng(2)
    drawings = rng.integers(0, 256, (4, 32, 32))
    thumbnails = (0.5 * drawings[labels] + 0.5 * rng.integers(0, 256, (600, 32, 32))).astype(np.uint8)
    noisy, swapped = swap(labels, 30, 4)
    by_pixels = {suspect.index for suspect in audit_labels(vectors, noisy, keys, thumbnails).suspects}
    noise = rng.integers(0, 256, (600, 32, 32), np.uint8)
    by_vectors = {suspect.index for suspect in audit_labels(vectors, noisy, keys, noise).suspects}
    assert not by_pixels - swapped
    assert len(by_pixels & swapped) >= 1.5 * len(by_vectors & swapped) > 0


def test_labels_that_are_right_are_not_suspected() -> None:
    audit = audit_labels(*make(400))
    assert not audit.suspects
    assert len(audit.judged) == 400


def test_images_of_one_group_do_not_vouch_for_each_other() -> None:
    vectors, labels, keys, thumbnails = make(200)
    wrong = np.arange(0, 24, 4)  # six shots of one thing, all of class 0, that show what class 1 shows
    vectors[wrong] = vectors[1]
    alone = {suspect.index for suspect in audit_labels(vectors, labels, keys, thumbnails).suspects}
    keys[wrong] = 0
    found = {suspect.index for suspect in audit_labels(vectors, labels, keys, thumbnails).suspects}
    assert set(wrong.tolist()) <= found
    assert not set(wrong.tolist()) <= alone


@pytest.mark.parametrize("sizes", [(LEAST - 1, 40, 40), (40,), (3, 2), (LEAST, LEAST)])
def test_a_class_of_few_images_is_not_judged(sizes: tuple[int, ...]) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    rng = np.random.default_rng(0)
    vectors = rng.random((len(labels), 16)).astype(np.float16)
    thumbnails = rng.integers(0, 256, (len(labels), 32, 32), np.uint8)
    audit = audit_labels(vectors, labels, np.arange(len(labels)), thumbnails)
    known = [size for size in sizes if size >= LEAST]
    assert len(audit.judged) == (sum(known) if len(known) > 1 else 0)
    assert all(labels[suspect.index] != 0 for suspect in audit.suspects) or sizes[0] >= LEAST


def test_whoever_waits_can_leave() -> None:
    class Left(Exception):
        pass

    def leave() -> None:
        raise Left

    with pytest.raises(Left):
        audit_labels(*make(100), alive=leave)
