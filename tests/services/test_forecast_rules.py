from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from app.features.probe import fit_probe
from app.forecasts.corrections import Past
from app.forecasts.costs import estimate_seconds, image_seconds
from app.forecasts.curve import draw_curve
from app.forecasts.spec import Curve
from app.networks.measured import get_speed
from app.schemas.forecast import AccuracyForecast, TimeForecast, Unknown
from app.services.forecast_rules import Ground, forecast_accuracy, forecast_memory, forecast_time
from tests.forecasts.sizes import make_size

CURVE = Curve(
    images=(100, 200, 300, 400),
    accuracies=(0.8, 0.85, 0.88, 0.9),
    judged=500,
    worth=500.0,
    doubled=(0.93, 0.91, 0.95),
)


def time(**ground: Any) -> TimeForecast:
    found = forecast_time(Ground(**{"size": make_size(), "device": "cpu", "past": [], **ground}))
    assert isinstance(found, TimeForecast)
    return found


def past_of(factor: float, **changes: Any) -> Past:
    size = make_size(**changes)
    usual, image = estimate_seconds(size), image_seconds(size)
    assert usual is not None
    assert image is not None
    return Past(size, (usual.steps + usual.rest) * factor, image * factor, 2_000_000_000)


def test_the_stages_add_up_and_the_interval_is_around_them() -> None:
    found = time(past=[past_of(2.0)] * 2)
    assert sum(stage.seconds for stage in found.stages) == pytest.approx(found.seconds.expected, abs=0.5)
    assert found.seconds.low < found.seconds.expected < found.seconds.high
    assert found.basis == "2 past trainings of efficientnet_lite0 here"


def test_early_stopping_may_make_it_shorter_and_not_longer() -> None:
    usual, stopped = time(), time(patience=2)
    assert stopped.seconds.low < usual.seconds.low
    assert stopped.seconds.high == usual.seconds.high


def test_without_a_training_the_machine_is_measured_and_the_interval_is_wide() -> None:
    speed = get_speed("efficientnet_lite0")
    assert speed is not None
    blind, slow = time(), time(embed_seconds=speed.serving_ms * 3 / 1000)
    assert "another machine" in blind.basis
    assert "3.0 ×" in slow.basis
    assert slow.seconds.expected == pytest.approx(3 * blind.seconds.expected, rel=0.01)
    widths = [one.seconds.high / one.seconds.low for one in (blind, slow, time(past=[past_of(1.0)] * 4))]
    assert widths == sorted(widths, reverse=True)


def test_a_machine_that_is_busy_with_other_work_is_named() -> None:
    assert "busy" not in time(load=1.2).basis
    assert "busy now, with 6.0 programs for each core" in time(load=6.0).basis


def test_of_a_gpu_that_no_training_has_run_on_nothing_is_said() -> None:
    ground = Ground(make_size(), "gpu", [])
    found = forecast_time(ground)
    assert isinstance(found, Unknown)
    assert "GPU" in found.why
    assert isinstance(forecast_memory(ground), Unknown)
    assert time(device="gpu", past=[past_of(0.1)]).seconds.expected > 0


def judge(**more: Any) -> AccuracyForecast:
    method, is_own = more.pop("method", "linear"), more.pop("is_own_network", True)
    return forecast_accuracy(make_size(method=method, **more), CURVE, is_own_network=is_own)


def test_the_interval_of_the_accuracy_counts_both_samples_and_how_unlike_the_training_is() -> None:
    linear, small_test = judge(), judge(test=20)
    assert linear.test.expected == 0.9
    assert small_test.test.low < linear.test.low < 0.9 < linear.test.high < small_test.test.high
    other, tuned = judge(is_own_network=False), judge(method="fine_tune")
    assert other.test.low < linear.test.low
    assert tuned.test.expected > linear.test.expected
    assert tuned.test.high > linear.test.high
    assert "other weights" in other.basis
    assert linear.twice_the_images.expected == 0.93


def test_the_interval_holds_the_accuracy_that_a_final_test_then_finds() -> None:
    centres = np.random.default_rng(0).normal(size=(4, 15))
    held = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        labels = rng.permutation(150) % 4
        features = (centres[labels] + 2.0 * rng.normal(size=(150, 15))).astype(np.float32)
        learned = slice(0, 120)
        names = [str(number) for number in range(120)]
        curve = draw_curve(features[learned], labels[learned], names, 4, seed=seed, seconds=60)
        message = Curve.model_validate(vars(curve))
        found = forecast_accuracy(make_size(method="linear", test=30), message, is_own_network=True)
        probe = fit_probe(features[:100], labels[:100], names[:100], np.ones(4, np.float32), seed=seed)
        truth = (probe.predict(features[120:]).argmax(axis=1) == labels[120:]).mean()
        held += found.test.low <= truth <= found.test.high
    assert held >= 7
