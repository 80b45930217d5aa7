"""What the checks look at, and what they say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from app.datasets.examination.honesty import Judged
from app.datasets.examination.looks import Looks
from app.datasets.examination.report import Diagnosis, ExaminationReport
from app.datasets.manifest import DatasetManifest, Item
from app.datasets.names import show
from app.schemas.finding import Level

_LISTED = 20


@dataclass(frozen=True)
class Evidence:
    """``manifest``: with near-duplicate groups. ``report``: what the examination found so far. ``judged``:
    None without feature vectors. ``difference``: how surely test images are told from training images, 0.5 by
    chance; None where the dataset did not come split, or it cannot be said.
    """

    manifest: DatasetManifest
    report: ExaminationReport
    looks: Looks
    judged: Judged | None
    difference: float | None


def diagnosis(
    code: str,
    level: Level,
    finding: str,
    advice: str,
    *,
    items: Sequence[Item] = (),
    classes: Iterable[str] = (),
) -> Diagnosis:
    """``items``: all images concerned, the worst first."""
    return Diagnosis(
        code=code,
        level=level,
        finding=finding,
        advice=advice,
        classes=tuple(sorted(classes)),
        items=tuple(item.id for item in items[:_LISTED]),
        number=len(items),
    )


def name_classes(classes: Sequence[str], most: int = 5) -> str:
    shown = ", ".join(map(show, classes[:most]))
    return shown if len(classes) <= most else f"{shown} and {len(classes) - most} more"
