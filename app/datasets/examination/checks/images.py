"""Checks of images and labels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from app.datasets.examination.checks.evidence import Evidence, diagnosis
from app.datasets.examination.indexed import index_dataset
from app.datasets.examination.report import Diagnosis
from app.datasets.manifest import Item
from app.datasets.names import show
from app.words import count

SUSPECT_SHARE, OUTLIER_SHARE, NEAR_SHARE = 0.01, 0.02, 0.2
"""Of all images: from here on there are more than every dataset has."""
SUSPECT_OF_ERRORS = 0.25


def contradictions(evidence: Evidence) -> Iterator[Diagnosis]:
    """Images that show the same thing under different labels."""
    groups: dict[str, list[Item]] = defaultdict(list)
    for item, is_blank in zip(evidence.manifest.items, evidence.looks.is_blank, strict=True):
        if not is_blank:  # which are told of elsewhere
            groups[f"near:{item.near_group}" if item.near_group is not None else item.sha256].append(item)
    divided = [group for group in groups.values() if len({item.label for item in group}) > 1]
    if divided:
        items = [item for group in divided for item in group]
        yield diagnosis(
            "contradiction",
            "error",
            f"{count(len(divided), 'thing is', 'things are')} shown under different labels, such as "
            f"{_pair_of_labels(divided[0])}",
            "Decide on one label for each: one of them is wrong, and teaches and tests the wrong thing.",
            items=items,
            classes={item.label for item in items},
        )


def suspects(evidence: Evidence) -> Iterator[Diagnosis]:
    report = evidence.report
    if not report.suspects:
        return
    by_id = {item.id: item for item in evidence.manifest.items}
    share = len(report.suspects) / max(1, report.judged)
    # Where classes are hard to tell apart, right labels look wrong too.
    is_many = share >= max(SUSPECT_SHARE, SUSPECT_OF_ERRORS * _share_of_errors(evidence))
    yield diagnosis(
        "suspect_labels",
        "warning" if is_many else "note",
        f"{count(len(report.suspects), 'label looks', 'labels look')} wrong ({share:.1%} of the images)",
        "Look at the images, worst first (suspects), and give them the right label.",
        items=[by_id[each.item] for each in report.suspects],
    )


def outliers(evidence: Evidence) -> Iterator[Diagnosis]:
    outliers = evidence.report.outliers
    if not outliers:
        return
    by_id = {item.id: item for item in evidence.manifest.items}
    share = len(outliers) / len(evidence.manifest.items)
    yield diagnosis(
        "outliers",
        "warning" if share >= OUTLIER_SHARE else "note",
        f"{count(len(outliers), 'image looks', 'images look')} like no other of the class ({share:.1%})",
        "Look at them (outliers): images of other things should leave, rare views are worth having.",
        items=[by_id[each.item] for each in outliers],
    )


def blank(evidence: Evidence) -> Iterator[Diagnosis]:
    items = [evidence.manifest.items[row] for row in np.flatnonzero(evidence.looks.is_blank)]
    if items:
        yield diagnosis(
            "blank",
            "warning",
            f"{count(len(items), 'image is', 'images are')} of one colour, such as {show(items[0].name)}",
            "Nothing is to be seen in them: remove them, unless that is what a class means.",
            items=items,
        )


def same_background(evidence: Evidence) -> Iterator[Diagnosis]:
    by_id = {item.id: item for item in evidence.manifest.items}
    for group in evidence.report.near_duplicates.same_background:
        yield diagnosis(
            "same_background",
            "note",
            f"{len(group):,} images have the same background",
            "They are compared by what is in front of it, which finds less. If several images show one part, "
            "import with group_by.",
            items=[by_id[each] for each in group],
        )


def near_duplicates(evidence: Evidence) -> Iterator[Diagnosis]:
    items = [item for item in evidence.manifest.items if item.near_group is not None]
    share = len(items) / max(1, len(evidence.manifest.items))
    if share >= NEAR_SHARE:
        groups = len({item.near_group for item in items})
        yield diagnosis(
            "near_duplicates",
            "note",
            f"{share:.0%} of the images show what others show too, {count(groups, 'thing', 'things')} in all",
            "They stay on one side of a split. They teach less than as many different images.",
            items=items,
        )


def _share_of_errors(evidence: Evidence) -> float:
    judged = evidence.judged
    if judged is None:
        return 0.0
    labels = index_dataset(evidence.manifest).labels
    return float((judged.answers != labels[judged.rows]).mean())


def _pair_of_labels(group: Sequence[Item]) -> str:
    other = next(item for item in group if item.label != group[0].label)
    return f"{show(group[0].name)} and {show(other.name)}"
