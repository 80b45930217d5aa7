"""Intervals and tests without scipy are those of scipy."""

from __future__ import annotations

import pytest
from scipy.stats import betabinom, binomtest

from app.services.proportions import mcnemar, predict_share, wilson


@pytest.mark.parametrize(("right", "trials"), [(0, 5), (5, 5), (97, 100), (1, 3), (12_345, 20_000)])
def test_the_interval_is_wilsons(right: int, trials: int) -> None:
    expected = binomtest(right, trials).proportion_ci(0.95, method="wilson")
    found = wilson(right / trials, trials)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_no_images_say_nothing() -> None:
    assert wilson(0.0, 0).model_dump() == {"value": 0.0, "low": 0.0, "high": 1.0}


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (0, 6), (10, 3), (700, 800), (5000, 5200)])
def test_two_models_are_told_apart_by_the_exact_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar(first, second) == pytest.approx(expected, rel=1e-6)
    assert mcnemar(second, first) == mcnemar(first, second)


@pytest.mark.parametrize(("share", "worth", "trials"), [(0.9, 200.0, 50), (0.5, 20.0, 20), (1.0, 300.0, 90)])
def test_a_share_that_will_be_seen_lies_between_the_quantiles_of_the_beta_binomial_distribution(
    share: float, worth: float, trials: int
) -> None:
    reference = betabinom(trials, share * worth + 0.5, (1 - share) * worth + 0.5)
    found = predict_share(share, worth, trials)
    assert found.value == share
    assert found.low * trials == pytest.approx(reference.ppf(0.025))
    assert found.high * trials == pytest.approx(reference.ppf(0.975))


def test_few_trials_may_all_be_right_and_many_are_not_counted_for_ever() -> None:
    assert predict_share(0.984, 150.0, 26).high == 1.0
    many, most = predict_share(0.9, 500.0, 2000), predict_share(0.9, 500.0, 10**9)
    assert (many.low, many.high) == (most.low, most.high)
