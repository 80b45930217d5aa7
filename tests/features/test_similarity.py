from __future__ import annotations

import numpy as np
import pytest

from app.features.similarity import cosines, widen


def test_every_finite_half_is_widened_as_numpy_does() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    assert np.array_equal(widen(halves).view(np.uint32), halves.astype(np.float32).view(np.uint32))


@pytest.mark.parametrize("rows", [1, 255, 256, 257, 1000])
def test_cosines_are_those_of_the_definition(rows: int) -> None:
    random = np.random.default_rng(rows)
    vectors = random.normal(size=(rows, 40)).astype(np.float16)
    vector = random.normal(size=40).astype(np.float32)
    exact = vectors.astype(np.float64)
    wanted = exact @ vector / np.linalg.norm(exact, axis=1) / np.linalg.norm(vector)
    assert np.abs(cosines(vectors, vector) - wanted).max() < 1e-6
    assert cosines(vectors, vectors[-1].astype(np.float32))[-1] == pytest.approx(1, abs=1e-6)


def test_a_vector_of_zeros_is_like_nothing() -> None:
    vectors = np.array([[0, 0], [1, 0]], np.float16)
    assert cosines(vectors, np.array([2, 0], np.float32)).tolist() == [0, 1]
    assert cosines(vectors, np.zeros(2, np.float32)).tolist() == [0, 0]
