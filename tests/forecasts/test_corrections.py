from __future__ import annotations

import math
from typing import Any

import pytest

from app.forecasts.corrections import (
    PROBED,
    UNSEEN,
    Past,
    correct_memory,
    correct_rest,
    correct_steps,
    divide_into_stages,
)
from app.forecasts.costs import (
    count_step_images,
    estimate_memory,
    estimate_seconds,
    image_seconds,
)
from tests.forecasts.sizes import make_size


def past(steps: float = 1.0, rest: float = 1.0, memory: float = 1.0, **changes: Any) -> Past:
    """A training that took these parts of what the figures say."""
    size = make_size(**changes)
    usual, image = estimate_seconds(size), image_seconds(size)
    assert usual is not None
    assert image is not None
    seconds = count_step_images(size) * image * steps + usual.rest * rest
    has_steps = size.method == "fine_tune"
    return Past(size, seconds, image * steps if has_steps else None, round(estimate_memory(size) * memory))


def test_what_a_training_took_is_found_again() -> None:
    seen = [past(steps=2.0, rest=3.0, memory=1.5)] * 3
    size = make_size(train=2000, epochs=4)
    assert correct_steps(size, seen).at() == pytest.approx(2.0)
    assert correct_rest(size, seen).at() == pytest.approx(3.0)
    assert correct_memory(size, seen).at() == pytest.approx(1.5, rel=1e-6)
    usual = estimate_seconds(size)
    assert usual is not None
    stages = divide_into_stages(usual, correct_steps(size, seen), correct_rest(size, seen))
    assert sum(stages.values()) == pytest.approx(usual.steps * 2 + usual.rest * 3)


def test_those_most_alike_decide() -> None:
    same, smaller, other = (
        past(steps=2.0),
        past(steps=3.0, image_size=(128, 128)),
        past(steps=5.0, network="resnet18"),
    )
    size = make_size()
    assert correct_steps(size, [other, smaller, same]).at() == pytest.approx(2.0)
    assert correct_steps(size, [other, smaller]).at() == pytest.approx(3.0)
    found = correct_steps(size, [other])
    assert found.at() == pytest.approx(5.0)
    assert not found.is_same_network
    assert correct_steps(size, [same]).deviation < found.deviation


def test_many_that_agree_narrow_the_interval_and_those_that_differ_widen_it() -> None:
    size = make_size()
    one, many = (correct_steps(size, [past(steps=2.0)] * number) for number in (1, 20))
    assert many.deviation < one.deviation / 2
    scattered = correct_steps(size, [past(steps=factor) for factor in (0.5, 1.0, 2.0, 4.0)])
    assert scattered.deviation > one.deviation
    assert scattered.at(-1) < 1.4 < scattered.at(1)


def test_another_method_says_nothing_of_all_but_the_steps() -> None:
    size = make_size(method="linear", freeze_epochs=1, epochs=1)
    seen = [past(rest=3.0), past(rest=2.0, method="linear", epochs=1)]
    assert correct_rest(size, seen).at() == pytest.approx(2.0)
    assert correct_rest(size, seen[:1]).trainings == 0


def test_before_any_training_the_speed_of_the_machine_is_what_is_known() -> None:
    size = make_size()
    blind, probed = correct_steps(size, []), correct_steps(size, [], 1.7)
    assert (blind.middle, blind.deviation) == (0.0, UNSEEN)
    assert probed.at() == pytest.approx(1.7)
    assert probed.deviation == PROBED
    assert correct_steps(size, [past(steps=2.0)], 1.7).at() == pytest.approx(2.0)


def test_steps_that_were_slow_at_the_end_leave_something_for_all_else() -> None:
    slow = past()
    size = make_size()
    image = image_seconds(size)
    assert image is not None
    found = correct_rest(size, [Past(slow.size, slow.seconds, image_seconds=image * 10)])
    assert math.isfinite(found.middle)
    assert found.at() == pytest.approx(0.2)
