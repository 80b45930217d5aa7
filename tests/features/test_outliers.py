from __future__ import annotations

import numpy as np

from app.features.outliers import find_outliers


def test_an_image_unlike_all_others_of_its_class_is_an_outlier() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 4
    vectors = np.abs(rng.random((4, 64))[labels] + 0.3 * rng.normal(size=(200, 64))).astype(np.float16)
    assert not find_outliers(vectors, labels, np.arange(200), lambda: None)
    vectors[7] = 0
    vectors[7, :3] = 5
    found = find_outliers(vectors, labels, np.arange(200), lambda: None)
    assert [outlier.index for outlier in found] == [7]
    assert found[0].similarity < 0.5


def test_copies_of_an_outlier_do_not_hide_it() -> None:
    rng = np.random.default_rng(0)
    labels, keys = np.zeros(60, np.int64), np.arange(60)
    vectors = (1 + 0.1 * rng.normal(size=(60, 32))).astype(np.float16)
    vectors[[3, 4]] = 0
    vectors[[3, 4], 0] = 1
    assert not find_outliers(vectors, labels, keys, lambda: None)
    keys[4] = 3
    assert {each.index for each in find_outliers(vectors, labels, keys, lambda: None)} == {3, 4}
