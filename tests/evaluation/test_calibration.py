"""The temperature that is fitted is the one the probabilities were made with, or none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.special import softmax

from app.evaluation.calibration import assign_folds, fit_temperature
from app.inference.temperature import apply_temperature

Array = np.ndarray[Any, Any]


def draw(items: int, sharpness: float, seed: int = 0) -> tuple[Array, Array]:
    """Probabilities that are too sure by ``sharpness``, and labels drawn from the honest ones."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(scale=2, size=(items, 4))
    honest = softmax(logits, axis=1)
    labels = (honest.cumsum(axis=1) > generator.random((items, 1))).argmax(axis=1)
    return softmax(logits * sharpness, axis=1).astype(np.float32), labels


@pytest.mark.parametrize("sharpness", [0.4, 2.5])
def test_probabilities_that_are_too_sure_or_not_sure_enough_become_honest(sharpness: float) -> None:
    probabilities, labels = draw(2000, sharpness)
    fitted = fit_temperature(probabilities, labels, [str(n) for n in range(2000)])
    assert fitted.value == pytest.approx(sharpness, rel=0.1)
    assert fitted.after < fitted.before
    rows = np.arange(2000)
    served = apply_temperature(probabilities, fitted.value)
    assert -np.log(served[rows, labels]).mean() <= fitted.before


def test_what_helps_no_image_that_it_was_not_fitted_on_is_left_out() -> None:
    for seed in range(5):
        probabilities, labels = draw(30, 1.0, seed)
        fitted = fit_temperature(probabilities, labels, [str(n) for n in range(30)])
        assert fitted.after <= fitted.before
        assert (fitted.value == 1.0) == (fitted.after == fitted.before)


def test_images_that_are_all_answered_rightly_do_not_ask_for_certainty() -> None:
    probabilities = np.tile(np.array([0.7, 0.2, 0.1], np.float32), (50, 1))
    fitted = fit_temperature(probabilities, np.zeros(50, np.int64), [str(n) for n in range(50)])
    sure = apply_temperature(probabilities, fitted.value)[0, 0]
    assert 0.95 < sure < 0.99


def test_images_of_one_whole_are_in_one_fold() -> None:
    wholes = [f"part {n // 3}" for n in range(60)]
    folds = assign_folds(wholes, 5)
    assert len({(whole, fold) for whole, fold in zip(wholes, folds, strict=True)}) == 20
    assert set(folds.tolist()) == {0, 1, 2, 3, 4}
    assert fit_temperature(np.full((3, 2), 0.5, np.float32), np.array([0, 1, 0]), ["one"] * 3).value == 1.0


def test_without_images_there_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="no images"):
        fit_temperature(np.empty((0, 2), np.float32), np.empty(0, np.int64), [])
