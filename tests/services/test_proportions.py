"""Intervals and tests without scipy are those of scipy."""

from __future__ import annotations

import pytest
from scipy.stats import binomtest

from app.services.proportions import mcnemar, wilson


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
