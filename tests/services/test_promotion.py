"""What becomes of a new model: decided from figures alone, and written at the end of a job."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from app.context import AppContext
from app.evaluation.comparison_spec import ChampionAnswer, Comparison, ComparisonSpec
from app.evaluation.metrics import evaluate_predictions
from app.jobs import claims
from app.jobs.kinds.base import NotPreparedError
from app.jobs.kinds.training import Training
from app.models import Alias, AliasMove, Dataset, Evaluation, Job, Product, TrainedModel
from app.schemas.gate import GateRules
from app.services import jobs, trained_models
from app.services.promotion import LOST, Champion, Decision, Figures, compare, decide, find_failures
from app.services.proportions import mcnemar
from tests.services import rows
from tests.services.rows import train
from tests.test_artifacts import MANIFEST_WITHOUT_FILES

KEEP = GateRules(min_accuracy=0.8)
DISCARD = GateRules(min_accuracy=0.8, on_failure="discard")


def figures(accuracy: float, **more: Any) -> Figures:
    return Figures(accuracy=accuracy, labels=("bolt", "nut"), **more)


def measured(**classes: tuple[int, ...]) -> Figures:
    """From the rows of the confusion matrix, in the order of the classes."""
    right = sum(row[index] for index, row in enumerate(classes.values()))
    items = sum(map(sum, classes.values()))
    return Figures(right / items if items else 0.0, tuple(classes), tuple(classes.values()))


def answered(new: int, champion: int, *, both: int = 0, neither: int = 0, **more: Any) -> ChampionAnswer:
    """``new``, ``champion``: the images that this one alone answers rightly."""
    images = new + champion + both + neither
    values = {"images": images, "counted": images, "left_out": 0, "not_asked": 0}
    return ChampionAnswer(
        found=Comparison(
            **values
            | {
                "new_right": both + new,
                "champion_right": both + champion,
                "only_new": new,
                "only_champion": champion,
                "knows_champion_training": True,
            }
            | more
        )
    )


def champion(answer: ChampionAnswer | None, labels: tuple[str, ...] = ("bolt", "nut")) -> Champion:
    return Champion("mdl_old", labels, answer)


def settle(answer: ChampionAnswer, labels: tuple[str, ...] = ("bolt", "nut")) -> Decision:
    """What becomes of a model that knows bolts and nuts and passed its gate."""
    decision = decide(KEEP, figures(0.9), champion(answer, labels))
    assert decision is not None
    assert (decision.passed, decision.keep) == (True, True)
    return decision


@pytest.mark.parametrize("rules", [KEEP, DISCARD])
@pytest.mark.parametrize("accuracy", [0.8, 0.9])
def test_the_first_model_that_reaches_the_threshold_becomes_champion(
    rules: GateRules, accuracy: float
) -> None:
    assert decide(rules, figures(accuracy), None) == Decision(passed=True, becomes_champion=True, keep=True)


@pytest.mark.parametrize("rival", [None, champion(None), champion(answered(9, 0, both=90))])
def test_under_the_threshold_nothing_becomes_champion_and_the_rules_say_what_is_kept(
    rival: Champion | None,
) -> None:
    kept, discarded = (decide(rules, figures(0.79), rival) for rules in (KEEP, DISCARD))
    assert kept is not None
    assert discarded is not None
    for decision in (kept, discarded):
        assert not decision.passed
        assert not decision.becomes_champion
    assert kept.keep
    assert not discarded.keep
    assert kept.reasons == (
        "Test accuracy 0.7900 is below min_accuracy 0.8000: the model is kept, and no alias points at it.",
    )
    assert discarded.reasons == ("Test accuracy 0.7900 is below min_accuracy 0.8000: no model was saved.",)


def test_each_rule_that_a_model_does_not_keep_is_named() -> None:
    rules = GateRules(
        min_accuracy=0.8, min_recall={"bolt": 0.9, "nut": 0.9}, max_bytes=5_000, max_milliseconds=10
    )
    candidate = replace(measured(bolt=(8, 2), nut=(0, 10)), bytes=5_001, milliseconds=10.5)
    decision = decide(rules, candidate, None)
    assert decision is not None
    assert not decision.passed
    assert decision.reasons == (
        "Recall of bolt 0.8000 (8 of 10) is below min_recall 0.9000.",
        "The served model has 5,001 bytes, more than max_bytes 5,000.",
        "A prediction takes 10.5 ms, more than max_milliseconds 10: the model is kept, and no alias points "
        "at it.",
    )
    good = replace(measured(bolt=(9, 1), nut=(0, 10)), bytes=5_000, milliseconds=10.0)
    passed = decide(rules, good, None)
    assert passed is not None
    assert passed.passed


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (measured(nut=(9, 1), washer=(0, 9)), "of bolt, a class that the model does not know"),
        (measured(bolt=(0, 0), nut=(0, 9)), "of bolt, but no test image is of this class"),
        (
            # A class that only the evaluation dataset has: a row of the matrix, and no class of the model.
            Figures(0.9, ("nut",), ((9,), (1,))),
            "of bolt, a class that the model does not know",
        ),
    ],
)
def test_a_floor_that_cannot_be_measured_fails_with_its_reason(candidate: Figures, words: str) -> None:
    [failure] = find_failures(GateRules(min_recall={"bolt": 0.9}), candidate)
    assert words in failure
    assert find_failures(GateRules(min_recall={"bolt": 0.0}), candidate) == []


def test_a_latency_that_was_not_measured_fails() -> None:
    [failure] = find_failures(GateRules(max_milliseconds=10), figures(1.0))
    assert "was not measured" in failure


def test_a_champion_with_every_easy_image_right_does_not_stay_against_a_better_model() -> None:
    """Its own six test images do not count: both answer the same harder ones."""
    decision = settle(answered(30, 2, both=60, neither=8))
    assert decision.becomes_champion
    assert decision.reasons == (
        "Of 100 test images that neither model was trained on, the new model answers 90 rightly and the "
        "champion mdl_old 62; 30 speak for the new model alone, 2 for the champion alone: the model becomes "
        "champion.",
    )
    assert decision.comparison is not None
    assert decision.comparison.p_value == pytest.approx(mcnemar(30, 2))


@pytest.mark.parametrize(
    ("new", "old", "both", "becomes_champion", "words"),
    [
        (0, 0, 6, True, "the model becomes champion"),
        (4, 4, 92, True, "the model becomes champion"),
        (5, 4, 91, True, "the model becomes champion"),
        (0, 1, 98, False, "a loss of more than 1%"),
        (0, 1, 99, True, "chance explains (p = 1 by"),
        (0, 5, 25, False, "a loss of more than 1%"),
        (0, 6, 25, False, "more than chance explains (p = 0.031 by"),
        (20, 28, 952, True, "chance explains (p = 0.31 by"),
        (100, 140, 4760, False, "more than chance explains (p = 0.012 by"),
    ],
)
def test_a_model_that_is_no_worse_takes_the_place(
    new: int, old: int, both: int, becomes_champion: bool, words: str
) -> None:
    decision = settle(answered(new, old, both=both))
    assert decision.becomes_champion == becomes_champion
    assert words in decision.reasons[-1]


@pytest.mark.parametrize("images", [0, 1, 5])
def test_of_too_few_images_the_champion_stays_and_the_job_says_how_many_and_why(images: int) -> None:
    decision = settle(answered(images, 0, left_out=12))
    assert not decision.becomes_champion
    [reason] = decision.reasons
    assert f"{images} test image" in reason
    assert "12 were left out" in reason
    assert "it takes 6: of fewer, even answers that are all wrong would show nothing" in reason
    assert decision.comparison is not None
    assert decision.comparison.p_value is None


def test_images_of_one_group_count_once() -> None:
    decision = settle(answered(0, 5, both=2, images=500, champion_right=500, new_right=20))
    assert not decision.becomes_champion
    assert "Of 500 test images of 7 groups, which count once each," in decision.reasons[0]


def test_where_the_champions_training_is_not_known_the_job_says_so() -> None:
    decision = settle(answered(1, 0, both=90, knows_champion_training=False))
    assert decision.becomes_champion
    assert decision.reasons[0].startswith("Of 91 test images that the new model was not trained on")
    assert "It is not known which images the champion was trained on" in decision.reasons[-1]


def test_a_champion_is_asked_only_where_its_answers_count() -> None:
    assert decide(KEEP, figures(0.9), champion(None)) is None
    assert decide(KEEP, figures(0.7), champion(None)) is not None
    assert decide(KEEP, figures(0.9), champion(None, labels=("bolt", "nut", "rivet"))) is not None
    assert decide(KEEP, figures(0.9), champion(None, labels=("bolt",))) is None


def test_a_champion_whose_files_are_lost_makes_room() -> None:
    decision = settle(ChampionAnswer(is_broken=True, reason="model.tflite cannot be read."))
    assert decision.becomes_champion
    assert decision.reasons == (
        "The champion mdl_old cannot be served: model.tflite cannot be read. So the model becomes champion.",
    )


def test_a_champion_that_could_not_be_asked_stays() -> None:
    decision = settle(ChampionAnswer(reason="It was tried 3 times."))
    assert not decision.becomes_champion
    assert decision.reasons == (
        "The champion mdl_old could not be asked about the test images: It was tried 3 times. So the model "
        "is saved but does not become champion. Promote it by hand if that is meant.",
    )


def test_a_class_added_later_does_not_keep_a_model_out() -> None:
    decision = settle(answered(1, 1, both=18), labels=("bolt",))
    assert decision.becomes_champion
    assert decision.reasons[0] == "Only the new model knows nut."


def test_a_model_that_lacks_a_class_stays_out() -> None:
    decision = settle(answered(50, 0), labels=("bolt", "nut", "rivet"))
    assert not decision.becomes_champion
    assert decision.reasons == (
        "Only the champion mdl_old knows rivet.",
        "It would never answer rivet: the model is saved but does not become champion. Promote it by hand if "
        "that is meant.",
    )


def test_without_a_shared_class_the_champion_stays() -> None:
    decision = settle(answered(50, 0), labels=("washer", "rivet"))
    assert not decision.becomes_champion
    assert decision.reasons[-1].startswith("No class is known to both")


def test_of_very_many_classes_ten_are_named() -> None:
    names = tuple(f"class-{index}" for index in range(300))
    decision = compare((*names[:-1], "new"), champion(None, labels=names[:-1]))
    assert decision is None
    decision = compare(("class-0", "new"), champion(None, labels=names))
    assert decision is not None
    assert "class-9, class-10 and 289 more" in " ".join(decision.reasons)


def test_without_a_threshold_every_model_passes() -> None:
    decision = decide(GateRules(min_accuracy=None), figures(0.0), None)
    assert decision is not None
    assert decision.passed


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


def test_products_do_not_compete(context: AppContext, tmp_path: Path) -> None:
    for _ in range(2):
        train(context, tmp_path)
    with context.db.read() as session:
        assert len(session.scalars(select(Alias)).all()) == len(session.scalars(select(Product)).all()) == 2


def test_the_end_of_a_job_asks_the_champion_and_tells_what_it_answered(
    any_context: AppContext, tmp_path: Path
) -> None:
    first = train(any_context, tmp_path)
    old = models(any_context)[0].id
    others: dict[str, Any] = {"product_id": first.product_id, "dataset_id": first.dataset}
    worse = train(any_context, tmp_path, champion=answered(0, 9, both=41), **others)
    better = train(any_context, tmp_path, champion=answered(9, 0, both=41), **others)
    gates = [jobs.get_job(any_context, job.id).gate for job in (worse, better)]
    assert [gate and gate.became_champion for gate in gates] == [False, True]
    for gate, job in zip(gates, (worse, better), strict=True):
        assert gate is not None
        assert gate.comparison is not None
        assert gate.comparison.champion == old
        assert f"the champion {old}" in gate.reasons[0]
        [end] = [data for data in rows.events(any_context, job.id, "status") if "gate" in data]
        assert end["gate"]["reasons"] == gate.reasons
        assert rows.events(any_context, job.id, "stage")[-1] == {"stage": "comparing"}
    with any_context.db.read() as session:
        moves = session.scalars(select(AliasMove).order_by(AliasMove.moved_at)).all()
    assert [(move.from_model, move.moved_by) for move in moves] == [(None, first.id), (old, better.id)]
    assert moves[0].reason == "Its test accuracy of 0.5000 passed the gate."
    assert moves[1].reason == " ".join(gates[1].reasons)  # type: ignore[union-attr]


def test_a_champion_that_moved_meanwhile_is_asked_too(any_context: AppContext, tmp_path: Path) -> None:
    first = train(any_context, tmp_path)
    others: dict[str, Any] = {"product_id": first.product_id, "dataset_id": first.dataset}
    job_id = rows.add_job(any_context, **others)
    claim = claims.claim(any_context, job_id, "a")
    assert claim is not None
    result = rows.leave_result(tmp_path / job_id)
    kind = Training()
    asked: list[str] = []

    def answer(_module: str, spec: ComparisonSpec, _type: Any) -> ChampionAnswer:
        asked.append(spec.champion.parent.name)
        assert spec.answers.read_bytes() == b"x", "the table of the new model, published or not"
        return rows.EQUAL

    preparation = kind.prepare_end(any_context, claim, result)
    assert preparation is not None
    preparation(answer)  # type: ignore[arg-type]
    assert kind.prepare_end(any_context, claim, result) is None
    train(any_context, tmp_path, **others)  # becomes champion before this one ends
    with pytest.raises(NotPreparedError):
        kind.finish(any_context, claim, result)
    preparation = kind.prepare_end(any_context, claim, result)
    assert preparation is not None
    preparation(answer)  # type: ignore[arg-type]
    kind.finish(any_context, claim, result)
    assert asked == [model.id for model in models(any_context)[:2]]
    assert (rows.read_job(any_context, job_id).gate or {})["comparison"]["champion"] == asked[1]


def test_a_loser_of_a_sweep_asks_nobody(context: AppContext, tmp_path: Path) -> None:
    first = train(context, tmp_path)
    job_id = rows.add_job(
        context, product_id=first.product_id, dataset_id=first.dataset, payload={"ends_as": "pruned"}
    )
    claim = claims.claim(context, job_id, "a")
    assert claim is not None
    result = rows.leave_result(tmp_path / job_id)
    assert Training().prepare_end(context, claim, result) is None
    Training().finish(context, claim, result)
    assert (rows.read_job(context, job_id).gate or {})["reasons"] == [LOST]


def test_a_champion_from_elsewhere_is_asked_without_knowing_what_it_learned(
    context: AppContext, tmp_path: Path
) -> None:
    first = train(context, tmp_path)
    imported = rows.add_job(context, product_id=first.product_id, kind="model_import", status="succeeded")
    with context.db.write() as session:
        old = session.scalars(select(TrainedModel)).one()
        old.job_id, old.dataset_id = imported, None
    job_id = rows.add_job(context, product_id=first.product_id, dataset_id=first.dataset)
    claim = claims.claim(context, job_id, "a")
    assert claim is not None
    preparation = Training().prepare_end(context, claim, rows.leave_result(tmp_path / job_id))
    assert preparation is not None
    specs: list[ComparisonSpec] = []

    def answer(_module: str, spec: ComparisonSpec, _type: Any) -> ChampionAnswer:
        specs.append(spec)
        return rows.EQUAL

    preparation(answer)  # type: ignore[arg-type]
    assert [spec.champion_learned for spec in specs] == [None]


def test_a_class_that_only_the_evaluation_dataset_has_is_none_that_the_model_knows(
    any_context: AppContext, tmp_path: Path
) -> None:
    first = train(any_context, tmp_path)
    with any_context.db.write() as session:
        session.add(Dataset(id="dst_new", product_id=first.product_id, status="ready", source="p.zip"))
    job_id = rows.add_job(
        any_context,
        product_id=first.product_id,
        dataset_id=first.dataset,
        payload={"evaluation_dataset": "dst_new"},
        gate_rules={"min_accuracy": 0.0, "min_recall": {"rare": 0.5}},
    )
    claim = claims.claim(any_context, job_id, "a")
    assert claim is not None
    answers = np.eye(3, dtype=np.float32)[[0, 1, 0, 1, 1]]
    labels = MANIFEST_WITHOUT_FILES.labels
    measured = evaluate_predictions(np.array([0, 0, 1, 1, 3]), answers, labels, ["rare"])
    evaluation = rows.EVALUATION.model_copy(update=vars(measured))
    result = rows.leave_result(tmp_path / job_id).model_copy(update={"evaluation": evaluation})
    rows.finish(any_context, claim, result)
    gate = jobs.get_job(any_context, job_id).gate
    assert gate is not None
    assert gate.reasons == [
        "min_recall asks for 0.5 of rare, a class that the model does not know, as there were no images of "
        "it to train on: the model is kept, and no alias points at it."
    ]
    with any_context.db.read() as session:
        [stored] = session.scalars(select(Evaluation).where(Evaluation.job_id == job_id))
    assert (stored.dataset_id, stored.is_final_test) == ("dst_new", True)
