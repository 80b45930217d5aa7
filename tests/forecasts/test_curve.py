from __future__ import annotations

import numpy as np
import pytest

from app.forecasts.curve import FOLDS, FRACTIONS, TooFewImagesError, draw_curve


def make(n: int, classes: int = 3, *, spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    centres = np.random.default_rng(99).normal(size=(classes, 30))
    return (centres[labels] + spread * rng.normal(size=(n, 30))).astype(np.float32), labels


def names(n: int) -> list[str]:
    return [str(number) for number in range(n)]


def test_more_images_bring_more_and_twice_as_many_more_again() -> None:
    features, labels = make(400, spread=3.0)
    curve = draw_curve(features, labels, names(400), 3, seed=0, seconds=60)
    assert curve.images == (80, 160, 240, 320)
    assert curve.judged == 400
    assert curve.accuracies[0] < curve.accuracies[-1]
    value, low, high = curve.doubled
    assert low <= value <= high
    assert value >= curve.accuracies[-1]
    more, of_more = make(2000, spread=3.0, seed=1)
    truth = draw_curve(more[:800], of_more[:800], names(800), 3, seed=1, seconds=60).accuracies[-1]
    assert low - 0.03 <= truth <= high + 0.03


def test_what_is_learned_at_once_cannot_become_better() -> None:
    features, labels = make(200, spread=0.1)
    curve = draw_curve(features, labels, names(200), 3, seed=0, seconds=60)
    assert curve.accuracies == (1.0,) * len(FRACTIONS)
    assert curve.doubled == (1.0, 1.0, 1.0)


def test_images_of_one_thing_do_not_judge_each_other() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    things = rng.normal(size=(40, 30)).astype(np.float32)  # tells nothing of the class
    features, of_images = np.repeat(things, 5, axis=0), np.repeat(labels, 5)
    flattered = draw_curve(features, of_images, names(200), 2, seed=0, seconds=60)
    together = [str(number) for number in np.repeat(np.arange(40), 5)]
    honest = draw_curve(features, of_images, together, 2, seed=0, seconds=60)
    assert flattered.accuracies[-1] > 0.95
    assert honest.accuracies[-1] < 0.75
    assert flattered.worth > 150
    assert honest.worth < 80


def test_when_the_time_is_over_the_curve_is_of_what_was_judged() -> None:
    features, labels = make(200, spread=1.0)
    ticks = iter(range(100))
    curve = draw_curve(features, labels, names(200), 3, seed=0, seconds=0.5, clock=lambda: float(next(ticks)))
    assert curve.judged == 200 // FOLDS
    assert curve.images[-1] == 160


def test_a_class_of_one_thing_cannot_be_left_out() -> None:
    features, labels = make(30, spread=1.0)
    labels[labels == 2] = 1
    labels[0] = 2
    with pytest.raises(TooFewImagesError) as refused:
        draw_curve(features, labels, names(30), 3, seed=0, seconds=60)
    assert refused.value.label == 2


def test_the_same_images_give_the_same_curve() -> None:
    features, labels = make(100, spread=2.0)
    first, second = (draw_curve(features, labels, names(100), 3, seed=0, seconds=60) for _ in range(2))
    assert first == second
