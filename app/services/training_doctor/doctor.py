"""All checks, and the order of what they find: the worst first."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import get_args

from app.schemas.finding import Finding, Level
from app.services.training_doctor.claims import check_difference, check_test_images, check_valid_images
from app.services.training_doctor.course import check_end, check_overfitting
from app.services.training_doctor.data import check_data, check_examined
from app.services.training_doctor.learning import check_learning
from app.services.training_doctor.record import TrainingRecord

CHECKS: tuple[Callable[[TrainingRecord], Iterable[Finding]], ...] = (
    check_learning,
    check_end,
    check_test_images,
    check_valid_images,
    check_data,
    check_difference,
    check_overfitting,
    check_examined,
)
"""In the order of how much a finding spoils the result: causes before what follows from them."""


def examine_training(record: TrainingRecord) -> list[Finding]:
    """Errors first, then warnings and notes; within a level in the order of the checks."""
    levels: tuple[Level, ...] = get_args(Level)
    found = [each for check in CHECKS for each in check(record)]
    return sorted(found, key=lambda each: levels.index(each.level))
