"""What is wrong with a dataset, the worst first: each finding with its images and what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import get_args

from app.datasets.examination.checks import classes, images, splits
from app.datasets.examination.checks.evidence import Evidence
from app.datasets.examination.report import Diagnosis
from app.schemas.finding import Level

CHECKS: tuple[Callable[[Evidence], Iterable[Diagnosis]], ...] = (
    images.contradictions,
    splits.shared_splits,
    splits.missing_in_test,
    classes.shortcuts,
    classes.small_classes,
    images.blank,
    classes.twins,
    splits.different_test,
    images.suspects,
    images.outliers,
    classes.imbalance,
    images.same_background,
    images.near_duplicates,
)
"""In the order of how much a finding spoils the figures."""


def diagnose(evidence: Evidence) -> tuple[Diagnosis, ...]:
    """All findings: errors first, then warnings and notes; within a level in the order of the checks."""
    found = [each for check in CHECKS for each in check(evidence)]
    levels: tuple[Level, ...] = get_args(Level)
    return tuple(sorted(found, key=lambda each: levels.index(each.level)))
