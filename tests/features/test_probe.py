from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from app.features.probe import FOLDS, STRENGTHS, USUAL, Probe, fit_probe


def make(n: int, classes: int, *, spread: float = 1.0, dimensions: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Features of classes around centres of their own, on scales that differ by a thousand."""
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    centres = rng.normal(size=(classes, dimensions))
    features = centres[labels] + spread * rng.normal(size=(n, dimensions))
    return (features * np.logspace(0, 3, dimensions) + 5).astype(np.float32), labels


def fit(features: np.ndarray, labels: np.ndarray, classes: int, **more: object) -> Probe:
    groups = [str(number) for number in range(len(labels))]
    settings = {"groups": groups, "class_weights": np.ones(classes, np.float32), "seed": 0, **more}
    return fit_probe(features, labels, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_its_kernel_and_bias_are_those_of_scikit_learn_on_scaled_features(classes: int) -> None:
    features, labels = make(300, classes)
    probe = fit(features, labels, classes)
    scaled = (features - features.mean(axis=0)) / features.std(axis=0)
    reference = LogisticRegression(C=probe.strength, tol=1e-6, max_iter=2000).fit(scaled, labels)
    assert probe.kernel.shape == (40, classes)
    assert np.abs(probe.predict(features) - reference.predict_proba(scaled)).max() < 0.01
    assert probe.predict(features).sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_noise_is_held_smaller_than_what_is_clear() -> None:
    clear, noise = (fit(*make(300, 3, spread=spread), 3).strength for spread in (0.3, 30.0))
    assert noise < clear
    assert {noise, clear} <= set(STRENGTHS)


def test_the_same_images_give_the_same_bits() -> None:
    features, labels = make(200, 4)
    first, second = fit(features, labels, 4), fit(features, labels, 4)
    assert np.array_equal(first.kernel, second.kernel)
    assert np.array_equal(first.bias, second.bias)


def test_groups_that_are_too_few_to_choose_on_take_the_usual_strength() -> None:
    features, labels = make(60, 3)
    assert fit(features, labels, 3, groups=["one part"] * 60).strength == USUAL
    assert fit(features[:FOLDS], np.arange(FOLDS), FOLDS).strength == USUAL


def test_a_heavy_class_is_answered_more_often() -> None:
    features, labels = make(400, 2, spread=20.0)
    even = fit(features, labels, 2).predict(features).argmax(axis=1)
    heavy = fit(features, labels, 2, class_weights=np.array([1.0, 20.0], np.float32)).predict(features)
    assert heavy.argmax(axis=1).mean() > even.mean() + 0.2


def test_whoever_waits_can_leave_between_fits() -> None:
    class Left(Exception):
        pass

    def leave() -> None:
        raise Left

    with pytest.raises(Left):
        fit(*make(60, 3), 3, alive=leave)
