"""The training doctor: each finding from a record made for it, and none from a training that went well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, get_args

import pytest

from app.datasets.examination.report import Diagnosis
from app.schemas.finding import Code, Finding
from app.services.proportions import wilson
from app.services.training_doctor.doctor import CHECKS, examine_training
from app.services.training_doctor.record import Epoch, FinalTest, TrainingRecord
from docs.generate import ROOT

CLASSES = ("bolts", "nuts", "screws", "washers")
CHANCE = math.log(len(CLASSES))
SETTINGS = {
    "method": "fine_tune",
    "pretrained": "none",
    "epochs": 20,
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "class_weights": "none",
    "augmentation": "light",
    "weight_decay": 1e-4,
    "label_smoothing": 0.0,
    "dropout": 0.0,
    "early_stopping": None,
}


def make_epochs(train: Sequence[float], valid: Sequence[float] | None = None, **changes: Any) -> list[Epoch]:
    """Of losses; accuracies are those that such losses have."""
    valid = train if valid is None else valid
    return [
        replace(Epoch(number, loss, _accuracy(loss), other, _accuracy(other)), **changes)
        for number, (loss, other) in enumerate(zip(train, valid, strict=True), start=1)
    ]


def _accuracy(loss: float) -> float:
    return max(1 / len(CLASSES), math.exp(-loss))


def make_test(right: int, items: int = 400, answered: str | None = None) -> FinalTest:
    """``answered``: the class that all images are answered with; else mistakes are spread evenly."""
    own = items // len(CLASSES)
    counts = [[0] * len(CLASSES) for _ in CLASSES]
    for row in range(len(CLASSES)):
        if answered is not None:
            counts[row][CLASSES.index(answered)] = own
        else:
            hits = right // len(CLASSES)
            counts[row][row] = hits
            counts[row][(row + 1) % len(CLASSES)] = own - hits
    return FinalTest(items, wilson(right / items, items), CLASSES, counts)


FALLING = [CHANCE * 0.8**epoch for epoch in range(20)]
LEARNED = [*FALLING[:-2], FALLING[-2], FALLING[-2] * 0.99]


def make_record(**changes: Any) -> TrainingRecord:
    """A training that went well, with an examination that found nothing."""
    record = TrainingRecord(
        product="parts",
        network="tiny_cnn",
        dataset="dst_1",
        settings=SETTINGS,
        asked={},
        usual_rate=1e-3,
        images=dict.fromkeys(CLASSES, 700),
        counts={"train": 2000, "valid": 400, "test": 400},
        epochs=make_epochs(LEARNED),
        stop_reason="completed",
        tested=make_test(392),
        diagnoses=(),
    )
    settings = {**SETTINGS, **changes.pop("settings", {})}
    return replace(record, **{"settings": settings, "epochs": record.epochs, **changes})


def first(record: TrainingRecord) -> Finding:
    found = examine_training(record)
    assert found, "nothing found"
    return found[0]


def codes(record: TrainingRecord) -> list[str]:
    return [each.code for each in examine_training(record)]


FLAT = make_epochs([CHANCE * 1.01] * 20)
BY_HEART = make_epochs(FALLING, [CHANCE * (1 + 0.1 * epoch) for epoch in range(20)], valid_accuracy=0.26)
DIAGNOSIS = Diagnosis(
    code="shortcut", level="warning", finding="nuts are recognised by the border", advice="Take all alike."
)
FAULTS: dict[str, tuple[TrainingRecord, str]] = {
    "a loss that is no number": (
        make_record(
            epochs=[], stop_reason=None, tested=None, error=("not_finite", "The training loss is not finite.")
        ),
        "rate_too_high",
    ),
    "a train loss beyond all bounds": (
        make_record(
            epochs=make_epochs([50.0, 9.0, *[CHANCE] * 18], [CHANCE] * 20),
            tested=make_test(100, answered="nuts"),
        ),
        "rate_too_high",
    ),
    "a validation loss beyond all bounds": (
        make_record(epochs=make_epochs([1.3] * 20, [900.0, *[1.3] * 19]), tested=make_test(120)),
        "rate_too_high",
    ),
    "a rate far above the usual one": (
        make_record(settings={"learning_rate": 0.5}, epochs=FLAT, tested=make_test(100)),
        "rate_too_high",
    ),
    "a rate far below the usual one": (
        make_record(settings={"learning_rate": 1e-6}, epochs=FLAT, tested=make_test(100, answered="bolts")),
        "rate_too_low",
    ),
    "one class that weighs most": (
        make_record(
            settings={"class_weights": {"nuts": 1000}},
            epochs=make_epochs([5.0] * 20, [CHANCE] * 20),
            tested=make_test(100, answered="nuts"),
        ),
        "one_class",
    ),
    "one class of which nearly all images are": (
        make_record(
            images={"bolts": 20, "nuts": 2000, "screws": 20, "washers": 20},
            tested=make_test(100, answered="nuts"),
        ),
        "one_class",
    ),
    "labels that follow from nothing": (make_record(epochs=FLAT, tested=make_test(100)), "not_learning"),
    "labels learned by heart": (make_record(epochs=BY_HEART, tested=make_test(100)), "not_learning"),
    "a setting that keeps it from learning": (
        make_record(settings={"dropout": 0.95}, epochs=FLAT, tested=make_test(100)),
        "not_learning",
    ),
    "one class for all, though it learned": (
        make_record(tested=make_test(100, answered="screws")),
        "one_class",
    ),
    "two test images": (
        make_record(
            counts={"train": 6, "valid": 2, "test": 4},
            tested=make_test(4, 4),
            settings={"epochs": 1},
        ),
        "few_test_images",
    ),
    "a gate that so few images cannot show": (
        make_record(least_accuracy=0.999, tested=make_test(400)),
        "few_test_images",
    ),
    "few validation images": (
        make_record(counts={"train": 2000, "valid": 6, "test": 400}),
        "few_valid_images",
    ),
    "a test of other images": (make_record(tested=make_test(240)), "different_test"),
    "train images learned by heart": (
        make_record(
            epochs=make_epochs(FALLING, [*FALLING[:4], *[0.7 + 0.02 * n for n in range(16)]]),
            tested=make_test(200),
        ),
        "overfitting",
    ),
    "no time left": (
        make_record(epochs=make_epochs(FALLING[:2]), stop_reason="budget_reached", tested=make_test(130)),
        "early_end",
    ),
    "stopped by a user": (
        make_record(epochs=make_epochs(FALLING[:3]), stop_reason="stopped_by_user", tested=make_test(200)),
        "early_end",
    ),
    "no patience": (
        make_record(
            settings={"early_stopping": {"patience": 1}},
            epochs=make_epochs(FALLING[:4], [*FALLING[:3], FALLING[2] * 0.99]),
            stop_reason="early_stopped",
            tested=make_test(200),
        ),
        "early_end",
    ),
    "one epoch": (
        make_record(settings={"epochs": 1}, epochs=make_epochs([1.2]), tested=make_test(120)),
        "too_short",
    ),
    "a shortcut of the dataset": (make_record(diagnoses=(DIAGNOSIS,)), "shortcut"),
    "a dataset that nothing looked at": (make_record(diagnoses=None), "not_examined"),
    "files in two classes, where nothing looked": (make_record(diagnoses=None, conflicts=3), "contradiction"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_first_with_numbers_and_what_to_do(name: str) -> None:
    record, code = FAULTS[name]
    found = first(record)
    assert found.code == code
    assert found.advice.endswith(".")
    if found.dataset is None:
        assert any(letter.isdigit() for letter in found.evidence) or record.error is not None


def test_each_kind_of_finding_has_a_fault_here_and_a_line_in_the_documents() -> None:
    own = set(get_args(Code))
    assert own <= {code for _, code in FAULTS.values()}
    page = (ROOT / "docs/training-findings.md").read_text(encoding="utf-8")
    for code in own:
        assert f"| `{code}` |" in page


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"settings": {"method": "linear", "epochs": 1}, "epochs": make_epochs([0.1])},
        {"settings": {"learning_rate": 1e-5}},
        {"settings": {"learning_rate": 0.02, "optimizer": "sgd"}},
        {"stop_reason": "early_stopped", "settings": {"early_stopping": {"patience": 10}, "epochs": 60}},
        {"stop_reason": "pruned", "epochs": make_epochs(FALLING[:2]), "tested": None},
        {"stop_reason": None, "epochs": make_epochs([CHANCE, CHANCE]), "tested": None},
        {"epochs": make_epochs([*LEARNED[:9], 0.4, *LEARNED[10:]], [*LEARNED[:9], 0.6, *LEARNED[10:]])},
    ],
)
def test_a_training_that_went_well_gives_none(changes: dict[str, Any]) -> None:
    assert codes(make_record(**changes)) == []


def test_what_follows_from_a_cause_is_not_named_beside_it() -> None:
    record = FAULTS["a rate far below the usual one"][0]
    assert codes(record) == ["rate_too_low"]


def test_errors_come_before_warnings_and_notes_and_causes_before_what_follows() -> None:
    wrong = Diagnosis(code="contradiction", level="error", finding="2 things", advice="Decide.", number=2)
    record = make_record(
        diagnoses=(wrong, DIAGNOSIS), epochs=FLAT, tested=make_test(100), counts={"valid": 12, "test": 400}
    )
    assert codes(record) == ["not_learning", "contradiction", "few_valid_images", "shortcut"]
    assert len(CHECKS) == len(set(CHECKS))


def test_a_handful_of_validation_images_shows_neither_that_it_learns_nor_that_it_does_not() -> None:
    few = make_record(epochs=FLAT, tested=make_test(100), counts={"valid": 6, "test": 400})
    assert codes(few)[0] == "few_valid_images"


def test_a_running_training_is_given_time_and_then_warned_of() -> None:
    running: dict[str, Any] = {"stop_reason": None, "tested": None}
    assert codes(make_record(epochs=FLAT[:3], **running)) == []
    found = first(make_record(epochs=FLAT[:5], **running))
    assert (found.code, found.level) == ("not_learning", "warning")


def test_a_command_trains_again_with_all_that_was_asked_for_and_the_change() -> None:
    record = make_record(
        settings={"learning_rate": 1e-6},
        asked={"learning_rate": 1e-6, "epochs": 20, "image_size": [96, 128], "augmentation": "none"},
        options=["--drop", "not clear"],
        epochs=FLAT,
    )
    found = first(record)
    assert found.settings == {"learning_rate": 1e-3}
    assert found.command == (
        "loupe train parts --dataset dst_1 --network tiny_cnn --drop 'not clear' --set learning_rate=0.001 "
        "--set epochs=20 --set 'image_size=[96, 128]' --set augmentation=none"
    )


def test_a_split_that_came_with_the_images_is_not_asked_for() -> None:
    few: dict[str, Any] = {"counts": {"train": 2000, "valid": 6, "test": 400}}
    assert "--set split.valid=0.15" in str(first(make_record(**few)).command)
    assert first(make_record(**few, is_divided=True)).command is None


def test_nothing_is_said_of_the_learning_of_classes_that_are_not_known() -> None:
    assert codes(make_record(images={}, epochs=FLAT, tested=make_test(100))) == []


def test_findings_of_test_images_are_left_out_where_another_dataset_is_tested_on() -> None:
    shared = Diagnosis(code="shared_splits", level="error", finding="2 test images", advice="Give others.")
    assert codes(make_record(diagnoses=(shared,))) == ["shared_splits"]
    assert codes(make_record(diagnoses=(shared,), is_tested_elsewhere=True)) == []


def test_what_the_examination_knows_of_the_test_is_not_measured_twice() -> None:
    known = Diagnosis(
        code="different_test", level="warning", finding="they look unlike", advice="Divide anew."
    )
    assert codes(make_record(tested=make_test(240), diagnoses=(known,))) == ["different_test"]
