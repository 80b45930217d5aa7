"""What is known of the images: the examination of the dataset measured it, and nothing is measured twice."""

from __future__ import annotations

from collections.abc import Iterator

from app.schemas.finding import Finding
from app.services.training_doctor.record import TrainingRecord, finding, look_into
from app.words import count

OF_THE_TEST = frozenset({"shared_splits", "missing_class", "different_test"})
"""Findings about the test images of the dataset, which say nothing where another one is tested on."""


def check_data(record: TrainingRecord) -> Iterator[Finding]:
    """The errors and warnings of the dataset, in their order."""
    for each in record.diagnoses or ():
        is_of_test = record.is_tested_elsewhere and each.code in OF_THE_TEST
        if each.level != "note" and not is_of_test:
            yield Finding(
                code=each.code,
                level=each.level,
                finding=each.finding,
                evidence=count(each.number, "image", "images") + " of the dataset." if each.number else "",
                advice=each.advice,
                command=look_into(record.dataset),
                classes=list(each.classes),
                dataset=record.dataset,
            )
    if record.diagnoses is None and record.conflicts:
        yield Finding(
            code="contradiction",
            level="error",
            finding=f"{count(record.conflicts, 'image lies', 'images lie')} in more than one class",
            evidence="Their files are the same, byte for byte.",
            advice="Decide on one label for each: one of them is wrong, and teaches and tests wrongly.",
            command=look_into(record.dataset),
            dataset=record.dataset,
        )


def check_examined(record: TrainingRecord) -> Iterator[Finding]:
    if record.diagnoses is None:
        yield finding(
            "not_examined",
            "note",
            "nothing has looked at the images themselves",
            "No examination of the dataset is there: shortcuts, wrong labels, and images that train and test "
            "share are not known.",
            "Examine the dataset: it takes some ten milliseconds of a core for each image.",
            command=f"loupe dataset examine {record.dataset}",
            dataset=record.dataset,
        )
