import math
from typing import Any

import pytest
from pydantic import ValidationError

from app.schemas.hyperparameters import Hyperparameters
from app.training.schedule import LearningRateSchedule
from tests.training.settings import make_settings


def make(kind: str = "constant", **fields: object) -> LearningRateSchedule:
    return LearningRateSchedule(**{"kind": kind, "peak": 0.4, "steps_per_epoch": 10, "epochs": 20, **fields})  # type: ignore[arg-type]


def test_warm_up_rises_linearly_to_the_peak_and_no_further() -> None:
    rate = make(warmup_epochs=2)
    assert rate(1) == pytest.approx(0.02)
    assert rate(10) == pytest.approx(0.2)
    assert rate(20) == pytest.approx(0.4)
    assert rate(21) == rate(200) == 0.4


@pytest.mark.parametrize("kind", ["constant", "cosine", "step", "exponential"])
def test_decay_starts_at_the_peak_when_warm_up_ends(kind: str) -> None:
    rate = make(kind, warmup_epochs=3)
    assert rate(30) == pytest.approx(0.4)
    assert rate(31) == pytest.approx(0.4)


def test_cosine_is_half_way_down_in_the_middle_and_above_zero_at_the_end() -> None:
    rate = make("cosine", warmup_epochs=2)
    assert rate(20 + 91) == pytest.approx(0.2)
    assert 0 < rate(200) < 0.0001
    assert rate(200) == pytest.approx(0.2 * (1 + math.cos(math.pi * 179 / 180)))


def test_step_decays_at_once_every_decay_epochs() -> None:
    rate = make("step", decay_epochs=5, decay_rate=0.1)
    assert rate(50) == pytest.approx(0.4)
    assert rate(51) == pytest.approx(0.04)
    assert rate(101) == pytest.approx(0.004)


def test_exponential_reaches_the_same_rates_smoothly() -> None:
    rate = make("exponential", decay_epochs=5, decay_rate=0.1)
    assert rate(51) == pytest.approx(0.04)
    assert rate(26) == pytest.approx(0.4 * math.sqrt(0.1))


def test_a_training_shorter_than_its_warm_up_still_reaches_the_peak() -> None:
    rate = make("cosine", epochs=1, warmup_epochs=5)
    assert max(rate(step) for step in range(1, 11)) == pytest.approx(0.4)


def test_a_training_of_one_step_has_a_rate() -> None:
    assert make("cosine", epochs=1, steps_per_epoch=1, warmup_epochs=1)(1) == 0.4


@pytest.mark.parametrize(
    ("fields", "used"),
    [
        ({"epochs": 4, "warmup_epochs": 100}, 2.0),
        ({"epochs": 1}, 0.5),
        ({"epochs": 10, "warmup_epochs": 3}, 3.0),
        ({"epochs": 10, "warmup_epochs": 0}, 0.0),
        ({"epochs": 10, "freeze_epochs": 7, "pretrained": "imagenet", "warmup_epochs": 9}, 3.5),
        ({"epochs": 10, "freeze_epochs": 2, "pretrained": "imagenet", "warmup_epochs": 9}, 4.0),
    ],
)
def test_the_warm_up_that_a_job_shows_is_the_longest_that_it_uses(
    fields: dict[str, Any], used: float
) -> None:
    """The same rates as with what was asked for, step by step."""
    settings = make_settings(**fields)
    assert settings.warmup_epochs == used
    phases = {"steps_per_epoch": 7, "epochs": settings.epochs, "freeze_epochs": settings.freeze_epochs}
    asked = make("cosine", warmup_epochs=fields.get("warmup_epochs", 1), **phases)
    shown = make("cosine", warmup_epochs=settings.warmup_epochs, **phases)
    steps = range(1, asked.steps + 1)
    assert [asked(step) for step in steps] == [shown(step) for step in steps]


def test_infinite_settings_are_refused() -> None:
    for name in ("warmup_epochs", "decay_epochs"):
        with pytest.raises(ValidationError):
            Hyperparameters(**{name: float("inf")})
