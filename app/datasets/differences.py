"""What differs between two datasets, image by image: told by content, whatever the images are called."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, get_args

from app.datasets.manifest import DatasetManifest, Item

Change = Literal["added", "removed", "relabelled", "moved"]
CHANGES: tuple[Change, ...] = get_args(Change)


@dataclass(frozen=True)
class Difference:
    """One image that differs. ``before``: None if it was added; ``after``: None if it was removed.

    It is relabelled if only its class differs, or its class and its split; moved if only its split does.
    """

    change: Change
    before: Item | None
    after: Item | None

    @property
    def item(self) -> Item:
        """The image as it is, or as it was where it is no more."""
        item = self.after or self.before
        assert item is not None
        return item


def compare(before: DatasetManifest, after: DatasetManifest) -> list[Difference]:
    """The differences in the order of the class and the name that the images have, or had."""
    found = [
        difference for old, new in _pair(before.items, after.items) for difference in _differences(old, new)
    ]
    return sorted(
        found, key=lambda difference: (difference.item.label, difference.item.name, difference.change)
    )


def count_changes(differences: Iterable[Difference]) -> dict[Change, int]:
    """How many images differ in which way; every way is there."""
    counts = Counter(difference.change for difference in differences)
    return {change: counts[change] for change in CHANGES}


def _pair(before: Iterable[Item], after: Iterable[Item]) -> Iterator[tuple[list[Item], list[Item]]]:
    """The images of each content, on both sides."""
    contents: dict[str, tuple[list[Item], list[Item]]] = defaultdict(lambda: ([], []))
    for side, items in enumerate((before, after)):
        for item in items:
            contents[item.sha256][side].append(item)
    yield from contents.values()


def _differences(before: list[Item], after: list[Item]) -> Iterator[Difference]:
    """Of the images of one content: those that stayed are taken out first, then those that only moved."""
    for alike in (_class_and_split, _class):
        before, after, pairs = _match(before, after, alike)
        yield from (Difference("moved", old, new) for old, new in pairs if old.split != new.split)
    for old, new in zip_longest(before, after):
        yield Difference("relabelled" if old and new else "removed" if old else "added", old, new)


def _match(
    before: Iterable[Item], after: Iterable[Item], alike: Callable[[Item], Hashable]
) -> tuple[list[Item], list[Item], list[tuple[Item, Item]]]:
    """What is left of both sides, and the pairs that are alike."""
    waiting: dict[Hashable, list[Item]] = defaultdict(list)
    for item in after:
        waiting[alike(item)].append(item)
    left, pairs = [], []
    for old in before:
        if same := waiting[alike(old)]:
            pairs.append((old, same.pop(0)))
        else:
            left.append(old)
    return left, [item for same in waiting.values() for item in same], pairs


def _class_and_split(item: Item) -> Hashable:
    return item.label, item.split


def _class(item: Item) -> Hashable:
    return item.label
