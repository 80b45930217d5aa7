"""Checks of the split that a dataset came with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from app.datasets.examination.checks.evidence import Evidence, diagnosis, name_classes
from app.datasets.examination.report import Diagnosis
from app.datasets.manifest import SPLITS
from app.datasets.wholes import find_wholes
from app.words import count

DIFFERENT = 0.8
"""Of pairs of a test and a training image, those that are told apart."""


def shared_splits(evidence: Evidence) -> Iterator[Diagnosis]:
    """Groups on both sides of the split that the dataset came with."""
    items = evidence.manifest.items
    if not evidence.manifest.is_split:
        return
    homes: dict[str, set[str]] = defaultdict(set)
    wholes = find_wholes(items)
    for item, whole in zip(items, wholes, strict=True):
        if item.split is not None:
            homes[whole].add(item.split)
    learned = {whole for whole, splits in homes.items() if "test" in splits and len(splits) > 1}
    shared = [
        item for item, whole in zip(items, wholes, strict=True) if whole in learned and item.split == "test"
    ]
    if shared:
        yield diagnosis(
            "shared_splits",
            "error",
            f"{count(len(shared), 'test image shows', 'test images show')} what train or valid shows too",
            "A training leaves them out of its figures and measures them apart. Better, give test images of "
            "things of its own.",
            items=shared,
        )


def missing_in_test(evidence: Evidence) -> Iterator[Diagnosis]:
    manifest = evidence.manifest
    for split in SPLITS[1:]:
        there = {item.label for item in manifest.items if item.split == split}
        missing = [name for name in manifest.classes if name not in there]
        if there and missing:
            yield diagnosis(
                "missing_class",
                "error",
                f"the {split} folder has no image of {name_classes(missing)}",
                "Nothing can be said of these classes: add images of them.",
                classes=missing,
            )


def different_test(evidence: Evidence) -> Iterator[Diagnosis]:
    if evidence.difference is not None and evidence.difference >= DIFFERENT:
        yield diagnosis(
            "different_test",
            "warning",
            "the test images look unlike the training images of their class: "
            f"{evidence.difference:.0%} of pairs are told apart, where 50 % is chance",
            "The test measures another world than the network learns: divide all images anew, or say so when "
            "you show the figures.",
        )
