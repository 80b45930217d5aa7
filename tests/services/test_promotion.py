"""What becomes of a new model: decided from figures alone, and written at the end of a job."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.context import AppContext
from app.jobs import claims
from app.jobs.kinds import training
from app.models import Alias, Job, Product, TrainedModel
from app.schemas.job import GateRules
from app.services import jobs, trained_models
from app.services.promotion import Champion, Decision, Figures, decide
from tests.services import rows
from tests.services.rows import add_job, read_job

KEEP = GateRules(min_accuracy=0.8)
DISCARD = GateRules(min_accuracy=0.8, on_failure="discard")


def figures(accuracy: float) -> Figures:
    return Figures(accuracy=accuracy)


@pytest.mark.parametrize("rules", [KEEP, DISCARD])
@pytest.mark.parametrize("accuracy", [0.8, 0.9])
def test_the_first_model_that_reaches_the_threshold_becomes_champion(
    rules: GateRules, accuracy: float
) -> None:
    assert decide(rules, figures(accuracy), None) == Decision(passed=True, becomes_champion=True, keep=True)


@pytest.mark.parametrize("champion", [None, Champion("mdl_old", figures(0.1))])
def test_under_the_threshold_nothing_becomes_champion_and_the_rules_say_what_is_kept(
    champion: Champion | None,
) -> None:
    kept, discarded = (decide(rules, figures(0.79), champion) for rules in (KEEP, DISCARD))
    for decision in (kept, discarded):
        assert not decision.passed
        assert not decision.becomes_champion
    assert kept.keep
    assert not discarded.keep
    assert kept.reasons == (
        "Test accuracy 0.7900 is below min_accuracy 0.8000: the model is kept, and no alias points at it.",
    )
    assert discarded.reasons == ("Test accuracy 0.7900 is below min_accuracy 0.8000: no model was saved.",)


def test_a_model_that_equals_the_champion_takes_its_place_and_a_worse_one_does_not() -> None:
    champion = Champion("mdl_old", figures(0.9))
    assert decide(KEEP, figures(0.9), champion).becomes_champion
    worse = decide(DISCARD, figures(0.89), champion)
    assert (worse.passed, worse.becomes_champion, worse.keep) == (True, False, True)
    assert worse.reasons == (
        "Test accuracy 0.8900 is below the 0.9000 of the champion mdl_old: "
        "the model is saved but does not become champion.",
    )


def test_without_a_threshold_every_model_passes() -> None:
    assert decide(GateRules(min_accuracy=None), figures(0.0), None).passed


def finish(context: AppContext, folder: Path, *, leaves_artifact: bool = True, **fields: Any) -> Job:
    """A job whose model answered half of its test pictures rightly, after its end."""
    claim = claims.claim(context, add_job(context, **fields), "a")
    assert claim is not None
    result = rows.leave_result(folder)
    if not leaves_artifact:
        result["artifact"] = None
    training.finish_training(context, claim, result)
    return read_job(context, claim.job_id)


def models(context: AppContext) -> list[TrainedModel]:
    with context.db.read() as session:
        return list(session.scalars(select(TrainedModel)))


def test_a_model_that_fails_its_gate_is_kept_and_no_alias_points_at_it(
    any_context: AppContext, tmp_path: Path
) -> None:
    job = finish(any_context, tmp_path / "left", gate_rules=KEEP.model_dump())
    [model] = models(any_context)
    assert model.passed_gate is False
    assert (any_context.storage.absolute(model.folder) / "manifest.json").is_file()
    assert job.gate is not None
    assert (job.gate["passed"], job.gate["became_champion"]) == (False, False)
    with any_context.db.read() as session:
        assert session.scalars(select(Alias)).all() == []
    assert jobs.get_job(any_context, job.id).model == model.id
    assert not trained_models.get_model(any_context, model.id).passed_gate


def test_a_model_that_is_to_be_discarded_leaves_no_row_and_no_file(
    any_context: AppContext, tmp_path: Path
) -> None:
    job = finish(any_context, tmp_path / "left", gate_rules=DISCARD.model_dump())
    assert job.status == "succeeded"
    assert models(any_context) == []
    assert list(any_context.storage.models.iterdir()) == []
    gate = jobs.get_job(any_context, job.id).gate
    assert gate is not None
    assert gate.reasons == ["Test accuracy 0.5000 is below min_accuracy 0.8000: no model was saved."]


def test_what_an_older_child_threw_away_is_not_called_kept(context: AppContext, tmp_path: Path) -> None:
    settings = {**rows.HYPERPARAMETERS, "min_accuracy": 0.8}
    job = finish(context, tmp_path / "left", leaves_artifact=False, hyperparameters=settings)
    assert job.status == "succeeded"
    assert job.gate is not None
    assert "no model was saved" in job.gate["reasons"][0]


def test_a_job_of_the_first_release_is_judged_by_its_least_accuracy(
    context: AppContext, tmp_path: Path
) -> None:
    settings = {**rows.HYPERPARAMETERS, "min_accuracy": 0.8}
    job = finish(context, tmp_path / "left", hyperparameters=settings)
    assert job.gate_rules is None
    assert [model.passed_gate for model in models(context)] == [False]
    rules = jobs.get_job(context, job.id).gate_rules
    assert rules == GateRules(min_accuracy=0.8, on_failure="keep")


def test_what_an_older_worker_registered_has_passed(context: AppContext, tmp_path: Path) -> None:
    job = finish(context, tmp_path / "left")
    with context.db.write() as session:
        [model] = session.scalars(select(TrainedModel))
        model.passed_gate = None
        # Its worker called every model failed that did not become champion.
        session.get_one(Job, job.id).gate = {"passed": False, "reasons": ["below the champion"]}
    assert trained_models.get_model(context, model.id).passed_gate
    gate = jobs.get_job(context, job.id).gate
    assert gate is not None
    assert gate.passed
    assert gate.reasons == ["below the champion"]


def test_a_rule_that_a_newer_release_added_is_passed_over(context: AppContext, tmp_path: Path) -> None:
    job = finish(context, tmp_path / "left", gate_rules={"min_accuracy": 0.1, "max_latency_ms": 5})
    assert job.gate is not None
    assert job.gate["passed"]
    assert jobs.get_job(context, job.id).gate_rules == GateRules(min_accuracy=0.1)


def test_products_do_not_compete(context: AppContext, tmp_path: Path) -> None:
    for number in range(2):
        finish(context, tmp_path / str(number))
    with context.db.read() as session:
        assert len(session.scalars(select(Alias)).all()) == len(session.scalars(select(Product)).all()) == 2
