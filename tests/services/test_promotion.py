"""What becomes of a new model: decided from figures alone, and written at the end of a job."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from app.context import AppContext
from app.evaluation.metrics import evaluate_predictions
from app.jobs import claims
from app.jobs.kinds.training import Training
from app.models import Alias, AliasMove, Dataset, Evaluation, Job, Product, TrainedModel
from app.schemas.job import GateRules
from app.services import jobs, trained_models
from app.services.promotion import Champion, Decision, Figures, compare, decide
from tests.services import rows
from tests.services.rows import train
from tests.test_artifacts import MANIFEST_WITHOUT_FILES

KEEP = GateRules(min_accuracy=0.8)
DISCARD = GateRules(min_accuracy=0.8, on_failure="discard")


def figures(accuracy: float, dataset: str = "dst_1") -> Figures:
    return Figures(accuracy=accuracy, dataset=dataset, labels=("bolt", "nut"))


def measured(dataset: str, **classes: tuple[int, ...]) -> Figures:
    """From the rows of the confusion matrix, in the order of the classes."""
    right = sum(row[index] for index, row in enumerate(classes.values()))
    items = sum(map(sum, classes.values()))
    return Figures(right / items if items else 0.0, dataset, tuple(classes), tuple(classes.values()))


OLD = measured("dst_1", bolt=(9, 1), nut=(1, 9))
"""Two classes, each right 9 times of 10."""


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


def test_models_of_different_datasets_are_compared_and_the_job_says_so() -> None:
    champion = Champion("mdl_old", figures(0.9, "dst_1"))
    better, worse = (decide(KEEP, figures(accuracy, "dst_2"), champion) for accuracy in (0.9, 0.89))
    assert better.becomes_champion
    assert not worse.becomes_champion
    assert better.reasons == (
        "Test accuracy 0.9000 on images of dst_2, that of the champion mdl_old 0.9000 on images of "
        "dst_1: the model becomes champion.",
    )
    assert worse.reasons[0].endswith("the model is saved but does not become champion.")


def test_a_class_added_later_does_not_keep_a_model_out() -> None:
    # 26 of 40 right is far below the champion's 0.9; on bolts and nuts alone it is 18 of 20.
    candidate = measured("dst_2", bolt=(9, 0, 1), nut=(0, 9, 1), washer=(6, 6, 8))
    assert candidate.accuracy < OLD.accuracy
    decision = decide(GateRules(min_accuracy=0.5), candidate, Champion("mdl_old", OLD))
    assert (decision.passed, decision.becomes_champion) == (True, True)
    assert decision.reasons == (
        "Only the new model knows washer.",
        "On the test images of bolt, nut, which both know, its accuracy is 0.9000, "
        "and that of the champion mdl_old 0.9000: the model becomes champion.",
    )


def test_an_answer_that_the_champion_cannot_give_is_as_wrong_as_any_other() -> None:
    candidate = measured("dst_2", bolt=(8, 0, 2), nut=(0, 9, 1), washer=(0, 0, 90))
    assert candidate.accuracy > OLD.accuracy
    becomes_champion, reasons = compare(candidate, Champion("mdl_old", OLD))
    assert not becomes_champion
    assert "its accuracy is 0.8500, and that of the champion mdl_old 0.9000" in reasons[-1]


def test_a_model_that_lacks_a_class_stays_out_however_many_it_brings() -> None:
    champion = measured("dst_1", bolt=(8, 0, 2), nut=(0, 8, 2), rivet=(0, 0, 100))
    candidate = measured("dst_2", nut=(9, 0, 1), washer=(0, 9, 1), bolt=(2, 0, 8))
    becomes_champion, reasons = compare(candidate, Champion("mdl_old", champion))
    assert not becomes_champion
    assert reasons[:2] == [
        "Only the new model knows washer.",
        "Only the champion mdl_old knows rivet.",
    ]
    assert "its accuracy is 0.8500, and that of the champion mdl_old 0.8000" in reasons[2]
    assert reasons[3] == "It would never answer rivet: promote it by hand if that is meant."


def test_a_model_that_only_lost_classes_does_not_become_champion() -> None:
    champion = measured("dst_1", bolt=(5, 0, 5), nut=(0, 5, 5), rivet=(0, 0, 10))
    becomes_champion, reasons = compare(OLD, Champion("mdl_old", champion))
    assert not becomes_champion
    assert reasons[0] == "Only the champion mdl_old knows rivet."
    assert "its accuracy is 0.9000, and that of the champion mdl_old 0.5000" in reasons[1]
    assert "promote it by hand" in reasons[2]


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (measured("dst_2", washer=(9, 1), rivet=(1, 9)), "No class is known to both"),
        (measured("dst_2", bolt=(0, 0), washer=(0, 9)), "no test images of bolt"),
        (Figures(1.0, "dst_2", ("bolt", "nut", "washer")), "no test images of bolt, nut"),
    ],
)
def test_where_nothing_can_be_compared_the_champion_stays_and_the_job_says_so(
    candidate: Figures, words: str
) -> None:
    decision = decide(GateRules(min_accuracy=0.0), candidate, Champion("mdl_old", OLD))
    assert (decision.passed, decision.becomes_champion, decision.keep) == (True, False, True)
    assert words in decision.reasons[-1]


def test_of_very_many_classes_ten_are_named() -> None:
    size = 300
    identity = tuple(tuple(int(i == j) for j in range(size)) for i in range(size))
    names = tuple(f"class-{index}" for index in range(size))
    many = Figures(1.0, "dst_2", (*names[:-1], "new"), identity)
    _, reasons = compare(many, Champion("mdl_old", Figures(1.0, "dst_1", names, identity)))
    assert "class-9 and 289 more" in " ".join(reasons)


def test_without_a_threshold_every_model_passes() -> None:
    assert decide(GateRules(min_accuracy=None), figures(0.0), None).passed


def models(context: AppContext) -> list[TrainedModel]:
    with context.db.read() as session:
        return list(session.scalars(select(TrainedModel)))


def test_a_model_that_fails_its_gate_is_kept_and_no_alias_points_at_it(
    any_context: AppContext, tmp_path: Path
) -> None:
    job = train(any_context, tmp_path, gate_rules=KEEP.model_dump())
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
    job = train(any_context, tmp_path, gate_rules=DISCARD.model_dump())
    assert job.status == "succeeded"
    assert models(any_context) == []
    assert list(any_context.storage.models.iterdir()) == []
    gate = jobs.get_job(any_context, job.id).gate
    assert gate is not None
    assert gate.reasons == ["Test accuracy 0.5000 is below min_accuracy 0.8000: no model was saved."]


def test_what_an_older_child_threw_away_is_not_called_kept(context: AppContext, tmp_path: Path) -> None:
    settings = {**rows.HYPERPARAMETERS, "min_accuracy": 0.8}
    job = train(context, tmp_path, leaves_artifact=False, hyperparameters=settings)
    assert job.status == "succeeded"
    assert job.gate is not None
    assert "no model was saved" in job.gate["reasons"][0]


def test_a_job_of_the_first_release_is_judged_by_its_least_accuracy(
    context: AppContext, tmp_path: Path
) -> None:
    settings = {**rows.HYPERPARAMETERS, "min_accuracy": 0.8}
    job = train(context, tmp_path, hyperparameters=settings)
    assert job.gate_rules is None
    assert [model.passed_gate for model in models(context)] == [False]
    rules = jobs.get_job(context, job.id).gate_rules
    assert rules == GateRules(min_accuracy=0.8, on_failure="keep")


def test_what_an_older_worker_registered_has_passed(context: AppContext, tmp_path: Path) -> None:
    job = train(context, tmp_path)
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
    job = train(context, tmp_path, gate_rules={"min_accuracy": 0.1, "max_latency_ms": 5})
    assert job.gate is not None
    assert job.gate["passed"]
    assert jobs.get_job(context, job.id).gate_rules == GateRules(min_accuracy=0.1)


def test_a_training_is_compared_with_a_champion_that_another_loupe_trained(
    context: AppContext, tmp_path: Path
) -> None:
    first = train(context, tmp_path)
    imported = rows.add_job(context, product_id=first.product_id, kind="model_import", status="succeeded")
    with context.db.write() as session:
        old = session.scalars(select(TrainedModel)).one()
        old.job_id, old.dataset_id = imported, None
        old.metrics = {"accuracy": {"value": 0.9, "low": 0.8, "high": 1.0}}
    second = train(context, tmp_path, product_id=first.product_id, dataset_id=first.dataset_id)
    assert (second.gate or {})["became_champion"] is False
    [reason] = (second.gate or {})["reasons"]
    assert f"that of the champion {old.id} 0.9000 on images of another Loupe" in reason


def test_products_do_not_compete(context: AppContext, tmp_path: Path) -> None:
    for _ in range(2):
        train(context, tmp_path)
    with context.db.read() as session:
        assert len(session.scalars(select(Alias)).all()) == len(session.scalars(select(Product)).all()) == 2


def test_the_champion_is_compared_by_what_its_own_test_answered(
    any_context: AppContext, tmp_path: Path
) -> None:
    first = train(any_context, tmp_path)
    product, dataset = first.product_id, first.dataset
    # The champion knew "good" and "schräg" alone, and answered one image of four rightly.
    with any_context.db.write() as session:
        champion = session.scalars(select(TrainedModel)).one()
        champion.labels = ["good", "schräg"]
        report = session.scalars(select(Evaluation)).one()
        matrix = {"labels": ["good", "schräg"], "counts": [[1, 1], [2, 0]]}
        report.report = {**report.report, "confusion_matrix": matrix}
        champion.metrics = {"accuracy": {"value": 1.0, "low": 0.5, "high": 1.0}}
        session.add(Dataset(id="dst_new", product_id=product, status="ready", source="p.zip"))
    second = train(any_context, tmp_path, product_id=product, dataset_id="dst_new")
    assert dataset != second.dataset
    gate = jobs.get_job(any_context, second.id).gate
    assert gate is not None
    assert gate.became_champion
    assert gate.reasons == [
        "Only the new model knows crack.",
        "On the test images of good, schräg, which both know, its accuracy is 0.5000, "
        f"and that of the champion {champion.id} 0.2500: the model becomes champion.",
    ]
    with any_context.db.read() as session:
        moves = session.scalars(select(AliasMove).order_by(AliasMove.moved_at)).all()
    assert [(move.from_model, move.to_model, move.moved_by) for move in moves] == [
        (None, champion.id, first.id),
        (champion.id, jobs.get_job(any_context, second.id).model, second.id),
    ]
    assert moves[0].reason == "Its test accuracy of 0.5000 passed the gate."
    assert moves[1].reason == " ".join(gate.reasons)


def test_a_model_is_judged_by_the_dataset_it_was_tested_on_and_knows_no_class_only_that_has(
    any_context: AppContext, tmp_path: Path
) -> None:
    champion = train(any_context, tmp_path)
    with any_context.db.write() as session:
        session.add(Dataset(id="dst_new", product_id=champion.product_id, status="ready", source="p.zip"))
    job_id = rows.add_job(
        any_context,
        product_id=champion.product_id,
        dataset_id=champion.dataset,
        payload={"evaluation_dataset": "dst_new"},
    )
    claim = claims.claim(any_context, job_id, "a")
    assert claim is not None
    answers = np.eye(3, dtype=np.float32)[[0, 1, 0, 1, 1]]
    labels = MANIFEST_WITHOUT_FILES.labels
    measured = evaluate_predictions(np.array([0, 0, 1, 1, 3]), answers, labels, ["rare"])
    evaluation = rows.EVALUATION.model_copy(update=vars(measured))
    result = rows.leave_result(tmp_path / job_id).model_copy(update={"evaluation": evaluation})
    Training().finish(any_context, claim, result)
    gate = jobs.get_job(any_context, job_id).gate
    assert gate is not None
    assert gate.reasons == [
        f"Test accuracy 0.4000 on images of dst_new, that of the champion {models(any_context)[0].id} 0.5000 "
        f"on images of {champion.dataset}: the model is saved but does not become champion."
    ]
    with any_context.db.read() as session:
        [stored] = session.scalars(select(Evaluation).where(Evaluation.job_id == job_id))
    assert (stored.dataset_id, stored.is_final_test) == ("dst_new", True)
