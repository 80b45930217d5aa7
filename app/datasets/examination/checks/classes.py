"""Checks of classes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from app.datasets.examination.checks.evidence import Evidence, diagnosis, name_classes
from app.datasets.examination.indexed import index_dataset
from app.datasets.examination.report import Diagnosis
from app.datasets.examination.shortcuts import Shortcut, find_shortcuts
from app.datasets.examination.twins import find_twins
from app.datasets.manifest import SPLITS
from app.datasets.wholes import find_wholes

FEW = 20
"""Different images of a class: with fewer, its test split has three, and says next to nothing."""
IMBALANCE = 10
TEST_SHARE = 0.15
FOR_FIVE_POINTS = 138
"""Test images for a 95 % interval of five points either way, at an accuracy of 90 % (Wilson 1927)."""


def shortcuts(evidence: Evidence) -> Iterator[Diagnosis]:
    names = evidence.manifest.classes
    labels = index_dataset(evidence.manifest).labels
    for shortcut in find_shortcuts(evidence.looks, labels):
        yield _describe_shortcut(shortcut, names)


def _describe_shortcut(shortcut: Shortcut, names: Sequence[str]) -> Diagnosis:
    classes = [names[each] for each in shortcut.classes]
    verb = "is" if len(classes) == 1 else "are"
    advice = (
        "A network learns that in place of what the images show, and fails where it differs. Take or store "
        "the images of all classes alike."
    )
    if shortcut.may_be_meant:
        advice = (
            f"If the things themselves differ so, as brass and steel do, nothing is wrong. Else: {advice}"
        )
    return diagnosis(
        "shortcut",
        "warning" if shortcut.may_be_meant else "error",
        f"{name_classes(classes)} {verb} recognised by the {shortcut.what} of the images alone "
        f"({shortcut.recall:.0%})",
        advice,
        classes=classes,
    )


def small_classes(evidence: Evidence) -> Iterator[Diagnosis]:
    items = evidence.manifest.items
    different: dict[str, set[str]] = defaultdict(set)
    for item, whole in zip(items, find_wholes(items), strict=True):
        different[item.label].add(whole)
    small = {name: len(wholes) for name, wholes in different.items() if len(wholes) < FEW}
    if not small:
        return
    fewest = min(small, key=lambda name: small[name])
    needed = round(FOR_FIVE_POINTS / TEST_SHARE, -1)
    yield diagnosis(
        "small_class",
        "error" if small[fewest] < len(SPLITS) else "warning",
        f"few different images of {name_classes(sorted(small))}: {small[fewest]} of {fewest}",
        f"Add images. To know the accuracy of a class to five points either way takes about "
        f"{FOR_FIVE_POINTS} test images of it, {needed:,.0f} in all where {TEST_SHARE:.0%} are for testing.",
        classes=sorted(small),
    )


def twins(evidence: Evidence) -> Iterator[Diagnosis]:
    if evidence.judged is None:
        return
    names = evidence.manifest.classes
    labels = index_dataset(evidence.manifest).labels
    judged = evidence.judged
    for first, second, share in find_twins(judged.answers, labels[judged.rows]):
        pair = (names[first], names[second])
        yield diagnosis(
            "twins",
            "warning",
            f"{pair[0]} and {pair[1]} are hardly told apart: a quick classifier takes {share:.0%} "
            "of their images for the other one",
            "If they mean the same, merge them (`loupe dataset edit`). If not, look at the labels, and at "
            "whether the images show what tells them apart.",
            classes=pair,
        )


def imbalance(evidence: Evidence) -> Iterator[Diagnosis]:
    counts = evidence.manifest.class_counts
    largest, smallest = max(counts, key=lambda n: counts[n]), min(counts, key=lambda n: counts[n])
    if counts[largest] > IMBALANCE * counts[smallest]:
        yield diagnosis(
            "imbalance",
            "warning",
            f"{largest} has {counts[largest]:,} images, {smallest} {counts[smallest]:,}",
            'Read the balanced accuracy, and train with class_weights "balanced"; or add images of the small '
            "classes.",
            classes=(largest, smallest),
        )
