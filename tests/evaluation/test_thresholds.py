"""What is promised of accepted answers holds, and is no more than the images can say."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from app.evaluation.decisions import LOST, fit_decision
from app.evaluation.selection import measure_selection
from app.evaluation.thresholds import LADDER, fit_thresholds, holds
from app.inference.decision import Verdict, choose_threshold, images_needed


def names(items: int) -> list[str]:
    return [str(n) for n in range(items)]


@pytest.mark.parametrize("errors", [0, 1, 7])
def test_the_bound_is_that_of_clopper_and_pearson(errors: int) -> None:
    for images in (20, 299, 1000):
        bound = beta.ppf(0.95, errors + 1, images - errors)
        assert holds(errors, images, bound + 1e-9, 0.05)
        assert not holds(errors, images, bound - 1e-9, 0.05)
    assert not holds(3, 3, 0.99, 0.05)


def test_299_accepted_images_without_an_error_promise_one_per_cent() -> None:
    assert images_needed(0.01, tried=1, confidence_level=0.95) == 299
    confidence = np.linspace(0.5, 1, 299)
    assert fit_thresholds(confidence, np.ones(299, bool), names(299))[0].max_error == 0.01
    fewer = fit_thresholds(confidence[1:], np.ones(298, bool), names(298))
    assert fewer[0].max_error == 0.015


def test_an_epoch_that_these_images_chose_costs_certainty() -> None:
    right = np.ones(299, bool)
    chosen = fit_thresholds(np.linspace(0.5, 1, 299), right, names(299), tried=20)
    assert chosen[0].max_error == 0.02
    assert images_needed(0.01, tried=20, confidence_level=0.95) == 597


def test_images_that_show_the_same_thing_are_one_witness() -> None:
    wholes = [str(n // 4) for n in range(1200)]
    [first, *_] = fit_thresholds(np.linspace(0.5, 1, 1200), np.ones(1200, bool), wholes)
    assert first.max_error == 0.01
    assert first.images == pytest.approx(300)


def test_errors_of_low_confidence_are_left_out_and_not_more() -> None:
    confidence = np.r_[np.linspace(0.3, 0.5, 100), np.linspace(0.8, 1, 900)]
    right = np.concatenate([np.zeros(100, bool), np.ones(900, bool)])
    thresholds = fit_thresholds(confidence, right, names(1000))
    strict = next(one for one in thresholds if one.max_error == 0.01)
    assert 0.49 < strict.probability < 0.81
    assert strict.coverage == pytest.approx(0.9, abs=0.01)
    assert [one.max_error for one in thresholds] == [one for one in LADDER if one >= 0.0075]


def test_few_images_promise_nothing() -> None:
    assert fit_thresholds(np.array([0.9, 0.8]), np.ones(2, bool), names(2)) == ()
    assert fit_thresholds(np.empty(0), np.empty(0, bool), []) == ()


def test_promises_are_kept_on_images_that_did_not_make_them() -> None:
    """Of these promises, from 60 fits on 400 images each, at most one in twenty may be too much."""
    generator = np.random.default_rng(7)
    population = 1 - generator.beta(0.15, 6, 100_000)
    right = generator.random(100_000) < population
    broken = made = 0
    for _ in range(60):
        chosen = generator.integers(0, 100_000, 400)
        for threshold in fit_thresholds(population[chosen], right[chosen], names(400)):
            made += 1
            broken += 1 - right[population > threshold.probability].mean() > threshold.max_error
    assert made > 200
    assert broken <= 0.05 * made


def test_a_decision_loses_few_images_of_its_own_and_judges_by_the_others() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 500)
    probabilities = np.full((500, 2), 0.02)
    probabilities[np.arange(500), labels] = 0.98
    similarities = generator.uniform(0.6, 1, 500).astype(np.float32)
    decision = fit_decision(probabilities, labels, names(500), similarities, split="valid", tried=1)
    assert decision.lost == pytest.approx(LOST)
    assert decision.similarity is not None
    assert (similarities < decision.similarity).mean() == pytest.approx(LOST)
    threshold = choose_threshold(decision, 0.01)
    assert threshold is not None
    assert threshold.images == pytest.approx(490)

    verdicts = [Verdict(None, 0.98, 0.96, 0.9)] * 8 + [Verdict("ambiguous", 0.5, 0.1, 0.9)] * 2
    selection = measure_selection(verdicts, np.arange(10) > 0, decision, 0.01)
    assert (selection.accepted, selection.wrong, selection.promised) == (8, 1, 0.01)
    assert selection.rejected == {"ambiguous": 2}
    assert selection.coverage.value == 0.8
    assert selection.error is not None
    assert selection.error.value == 0.125


def test_one_image_of_a_split_decides_something() -> None:
    decision = fit_decision(
        np.array([[0.9, 0.1]]), np.array([0]), ["a"], np.array([0.5], np.float32), split="valid", tried=1
    )
    assert (decision.thresholds, decision.lost) == ((), 0.0)
    assert (
        measure_selection([Verdict("low_confidence", 0.4, 0.1, None)], np.array([True]), decision, 0.01).error
        is None
    )
