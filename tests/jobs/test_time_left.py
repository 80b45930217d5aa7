"""How long a running training still takes: validations, evaluation, export and replay are counted."""

from __future__ import annotations

import pytest

from app.context import AppContext
from app.jobs import claims, progress
from app.jobs.claims import Claim
from app.networks.registry import get_network
from app.schemas.hyperparameters import Hyperparameters
from app.schemas.progress_lines import AnyLine, DeviceLine, PlanLine, ProgressLine, StageLine, StepLine
from app.training.defaults import resolve_hyperparameters
from tests.services.rows import add_job, read_job

SETTINGS = resolve_hyperparameters(
    Hyperparameters(epochs=4, freeze_epochs=1, batch_size=10),
    get_network("efficientnet_lite0"),
    pretrained="imagenet",
    train_items=100,
)
SPLIT = {"counts": {"train": 100, "valid": 20, "test": 20}}
DEVICE = DeviceLine(device="cpu", name="a processor", names=["a processor"])


@pytest.fixture
def claim(context: AppContext) -> Claim:
    job = add_job(
        context,
        network="efficientnet_lite0",
        hyperparameters=SETTINGS.model_dump(mode="json"),
        split=SPLIT,
    )
    claim = claims.claim(context, job, "a")
    assert claim is not None
    return claim


def left_after(context: AppContext, claim: Claim, *lines: AnyLine) -> float:
    progress.report(context, claim, lines)
    left: float = read_job(context, claim.job_id).progress["eta_seconds"]
    return left


def step(number: int, speed: float) -> StepLine:
    return StepLine(
        step=number,
        epoch=(number - 1) // 10 + 1,
        loss=1.0,
        accuracy=0.5,
        learning_rate=0.01,
        images_per_second=speed,
    )


PLAN = PlanLine(epochs=4, steps_per_epoch=10, steps=40, step=0)


def test_it_falls_from_stage_to_stage_and_ends_with_the_replay(context: AppContext, claim: Claim) -> None:
    left = [left_after(context, claim, StageLine(stage="preparing"), DEVICE)]
    stages = read_job(context, claim.job_id).progress["stage_seconds"]
    assert left[0] == pytest.approx(sum(stages.values()), abs=0.5)
    left += [left_after(context, claim, StageLine(stage="training"), PLAN)]
    for name in ("evaluating", "exporting", "verifying"):
        left.append(left_after(context, claim, StageLine(stage=name)))
    assert left == sorted(left, reverse=True)
    assert left[-1] == pytest.approx(stages["verifying"], abs=0.1)
    half = left_after(context, claim, ProgressLine(done=10, total=20))
    assert half == pytest.approx(stages["verifying"] / 2, abs=0.1)


def test_after_the_last_step_all_that_follows_is_still_to_come(context: AppContext, claim: Claim) -> None:
    left_after(context, claim, StageLine(stage="preparing"), DEVICE, StageLine(stage="training"), PLAN)
    stages = read_job(context, claim.job_id).progress["stage_seconds"]
    after = stages["evaluating"] + stages["exporting"] + stages["verifying"]
    at_the_end = left_after(context, claim, *(step(number, 20.0) for number in range(1, 41)))
    assert at_the_end == pytest.approx(after + 0.35 * 20 / 20.0, abs=0.5)


def test_steps_of_all_layers_are_counted_at_their_own_speed(context: AppContext, claim: Claim) -> None:
    left_after(context, claim, StageLine(stage="preparing"), DEVICE, StageLine(stage="training"), PLAN)
    stages = read_job(context, claim.job_id).progress["stage_seconds"]
    after = stages["evaluating"] + stages["exporting"] + stages["verifying"]
    # The backbone is frozen: 45 images a second, where all layers would learn from 45 % as many.
    frozen = left_after(context, claim, *(step(number, 45.0) for number in range(1, 11)))
    whole_speed = 45 * 0.45
    assert frozen == pytest.approx(after + (300 + 0.35 * 20 * 4) / whole_speed, rel=0.05)
    # The next step takes long, since the network is traced anew; it says nothing of those after it.
    traced = left_after(context, claim, step(11, 1.0), step(12, 20.0))
    assert traced == pytest.approx(after + (280 + 0.35 * 20 * 3) / 20.0, rel=0.05)


def test_a_job_of_a_release_with_other_settings_has_the_time_of_its_steps(context: AppContext) -> None:
    job = add_job(context, network="tiny_cnn", split=SPLIT)  # lacks nearly every setting
    claim = claims.claim(context, job, "a")
    assert claim is not None
    progress.report(context, claim, [DEVICE, PLAN, step(1, 5.0), step(2, 10.0)])
    shown = read_job(context, job).progress
    assert shown["eta_seconds"] == pytest.approx(38 * 8 / 10.0)
    assert "stage_seconds" not in shown
