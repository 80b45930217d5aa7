"""Whether the images that judge a model are enough for what is claimed, and show what it learned."""

from __future__ import annotations

import math
from collections.abc import Iterator

from app.schemas.finding import Finding
from app.services.proportions import wilson
from app.services.training_doctor.data import check_data
from app.services.training_doctor.record import TrainingRecord, finding, per_cent

WIDE, SENSELESS = 0.2, 0.4
"""The width of a 95 % interval of an accuracy, from which on it is a warning and an error."""
PRESUMED = 0.9
"""The accuracy by which images are counted before one is measured."""
FEW_VALID = 20
"""Validation images: with fewer, which epoch is the best is a matter of luck."""
APART, SURE = 0.1, 3.5
"""Between two accuracies, and in standard deviations. The best epoch is chosen on the validation images, so
they are a little too kind.
"""
_Z = 1.96
_USUAL_SPLIT = "--set split.train=0.7 --set split.valid=0.15 --set split.test=0.15"


def check_test_images(record: TrainingRecord) -> Iterator[Finding]:
    number = record.tested.items if record.tested is not None else record.counts.get("test", 0)
    if not number:
        return
    accuracy = record.tested.accuracy if record.tested is not None else wilson(PRESUMED, number)
    width = accuracy.high - accuracy.low
    most = wilson(1.0, number).low
    if width < WIDE and most >= record.least_accuracy:
        return
    if record.tested is not None:
        evidence = (
            f"{per_cent(accuracy.value)} of {number:,} test images are right: the accuracy lies between "
            f"{per_cent(accuracy.low)} and {per_cent(accuracy.high)}."
        )
    else:
        evidence = f"There are {number:,} test images."
    needed = math.ceil(_Z**2 * max(0.09, accuracy.value * (1 - accuracy.value)) / 0.05**2)
    advice = f"Add images: {needed:,} test images give an interval of five points either way."
    if most < record.least_accuracy < 1:
        needed = math.ceil(record.least_accuracy * _Z**2 / (1 - record.least_accuracy))
        evidence += (
            f" Even without a mistake they show no more than {per_cent(most)}, and the gate asks for "
            f"{per_cent(record.least_accuracy)}."
        )
        advice = f"Add images: it takes {needed:,} test images without a mistake to show that accuracy."
    yield finding(
        "few_test_images",
        "error" if width >= SENSELESS else "warning",
        f"the test images are too few for a claim: {number:,}",
        evidence,
        advice,
        command=f"loupe dataset import {record.product} FOLDER",
    )


def check_valid_images(record: TrainingRecord) -> Iterator[Finding]:
    number = record.counts.get("valid", 0)
    if not record.is_descent or not 0 < number < FEW_VALID or record.planned_epochs < 2:
        return
    advice, command = "Add images of validation: the images came divided.", None
    if not record.is_divided:
        advice = "Give the validation split a larger share, such as 0.15, or add images."
        command = f"{record.train_again()} {_USUAL_SPLIT}"
    yield finding(
        "few_valid_images",
        "warning",
        f"the validation images are too few: {number:,}",
        f"They choose the best of {record.planned_epochs} epochs, and one image is worth "
        f"{100 / number:.0f} points of accuracy.",
        advice,
        command=command,
    )


def check_difference(record: TrainingRecord) -> Iterator[Finding]:
    """Whether the test images are harder, or easier, than the validation images, beyond chance."""
    best, tested = record.best, record.tested
    if tested is None or best is None or best.valid_accuracy is None:
        return
    if any(each.code == "different_test" for each in check_data(record)):
        return  # the examination knows it from the images themselves
    valid, test = best.valid_accuracy, tested.accuracy.value
    numbers = record.counts.get("valid", 0), tested.items
    if min(numbers) < FEW_VALID:
        return
    pooled = (valid * numbers[0] + test * numbers[1]) / sum(numbers)
    deviation = math.sqrt(max(pooled * (1 - pooled), 1e-4) * (1 / numbers[0] + 1 / numbers[1]))
    if abs(valid - test) < max(APART, SURE * deviation):
        return
    harder = "harder" if test < valid else "easier"
    where = (
        "The other dataset shows other images than the training's: add such images to it."
        if record.is_tested_elsewhere
        else "Divide all images anew, or add images like the harder ones to train."
    )
    yield finding(
        "different_test",
        "warning",
        f"the test images are {harder} than the validation images: they show something else",
        f"{per_cent(valid)} of {numbers[0]:,} validation images are right, and {per_cent(test)} of "
        f"{numbers[1]:,} test images: {abs(valid - test) / deviation:.1f} standard deviations apart.",
        where,
        command=f"loupe dataset report {record.dataset}",
        dataset=record.dataset,
    )
