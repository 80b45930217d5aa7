"""A temperature changes how sure a network is, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from app.inference.temperature import apply_temperature, remove_temperature

LOGITS = np.random.default_rng(0).normal(scale=4, size=(200, 7))


@pytest.mark.parametrize("temperature", [0.1, 0.7, 1.0, 3.0, 10.0])
def test_it_is_softmax_of_the_logits_divided(temperature: float) -> None:
    raw = softmax(LOGITS, axis=1).astype(np.float32)
    np.testing.assert_allclose(
        apply_temperature(raw, temperature), softmax(LOGITS / temperature, axis=1), atol=1e-5
    )
    assert (apply_temperature(raw, temperature).argmax(axis=1) == LOGITS.argmax(axis=1)).all()


def test_it_can_be_taken_off_again() -> None:
    raw = softmax(LOGITS, axis=1).astype(np.float32)
    again = remove_temperature(apply_temperature(raw, 0.5), 0.5)
    np.testing.assert_allclose(again, raw, atol=1e-6)
    assert apply_temperature(raw, 1.0).astype(np.float32).tobytes() == raw.tobytes()


def test_certainty_stays_certainty() -> None:
    assert apply_temperature(np.array([0.0, 1.0, 0.0], np.float32), 0.1).tolist() == [0, 1, 0]
    assert apply_temperature(np.array([1e-38, 1e-38], np.float32), 0.1).tolist() == [0.5, 0.5]
