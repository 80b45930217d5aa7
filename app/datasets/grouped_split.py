"""The draw of a split whose groups stay whole: what shares a group, a content or what it shows goes together.

The largest groups are placed first, each where it brings the counts of its classes nearest to those wanted;
groups of one size go by the SHA-256 of (seed, key). So the split depends on the items and the seed alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.datasets.manifest import Item, Split
from app.datasets.wholes import find_wholes
from app.errors import SplitError


@dataclass(frozen=True)
class Whole:
    """What must stay together. ``key``: the same however often it is drawn; ``sizes``: images by class."""

    key: str
    items: tuple[Item, ...]
    sizes: NDArray[np.int64]


def join_groups(items: Sequence[Item], classes: Sequence[str]) -> list[Whole]:
    """Joins items that must stay together; copies count once in a class."""
    joined: dict[str, list[Item]] = {}
    for item, whole in zip(items, find_wholes(items), strict=True):
        joined.setdefault(whole, []).append(item)
    column = {name: number for number, name in enumerate(classes)}
    wholes = []
    for members in joined.values():
        sizes = np.zeros(len(classes), np.int64)
        for label, _ in {(item.label, item.sha256) for item in members}:
            sizes[column[label]] += 1
        key = min(item.sha256 if item.group is None else f"group:{item.group}" for item in members)
        wholes.append(Whole(key, tuple(members), sizes))
    return wholes


def draw_whole(
    items: Sequence[Item], splits: Sequence[Split], shares: Mapping[str, float], is_counts: bool, seed: int
) -> dict[str, Split]:
    """Assigns items to splits; with counts, what is over is left out. Raises SplitError for a class that
    cannot be in each split, and for counts that are too large."""
    classes = sorted({item.label for item in items})
    wholes = join_groups(items, classes)
    sizes = np.stack([whole.sizes for whole in wholes])
    _check_groups(classes, (sizes > 0).sum(axis=0), splits)
    ideal = _ideal(sizes.sum(axis=0), np.array([shares[name] for name in splits]), is_counts)
    order = sorted(range(len(wholes)), key=lambda n: (-int(sizes[n].sum()), _rank(seed, wholes[n].key)))
    place = np.zeros(len(wholes), np.int64)
    missing = -ideal
    for number in order:
        size = sizes[number]
        place[number] = int((size * (2 * missing + size)).sum(axis=1).argmin())
        missing[place[number]] += size
    _fill(place, sizes, order, classes, splits)
    return {
        item.id: splits[place[number]]
        for number, whole in enumerate(wholes)
        if place[number] < len(splits)
        for item in whole.items
    }


def _ideal(totals: NDArray[np.int64], shares: NDArray[np.float64], is_counts: bool) -> NDArray[np.float64]:
    """Images wanted (splits, classes); of counts, a last row for those that no split takes."""
    available = int(totals.sum())
    if not is_counts:
        return np.outer(shares / shares.sum(), totals)
    if shares.sum() > available:
        raise SplitError(
            f"the counts ask for {int(shares.sum())} images, the dataset has {available} different ones",
            hint="Ask for fewer, or give ratios.",
        )
    return np.outer(np.append(shares, available - shares.sum()) / available, totals)


def _fill(
    place: NDArray[np.int64],
    sizes: NDArray[np.int64],
    order: Sequence[int],
    classes: Sequence[str],
    splits: Sequence[Split],
) -> None:
    """Gives each split a group of each class that it lacks, the smallest that leaves nobody without."""
    rows = int(place.max(initial=0)) + 1
    groups = np.zeros((max(rows, len(splits)), len(classes)), np.int64)
    np.add.at(groups, place, sizes > 0)
    for split in range(len(splits)):
        for number, name in enumerate(classes):
            if groups[split, number]:
                continue
            for moved in reversed(order):
                home = int(place[moved])
                has = sizes[moved] > 0
                spare = home >= len(splits) or bool((groups[home][has] > 1).all())
                if has[number] and home != split and spare:
                    groups[home] -= has
                    groups[split] += has
                    place[moved] = split
                    break
            else:
                raise _too_few(name, int((sizes[:, number] > 0).sum()), splits)


def _check_groups(classes: Sequence[str], groups: NDArray[np.int64], splits: Sequence[Split]) -> None:
    for name, number in zip(classes, groups.tolist(), strict=True):
        if number < len(splits):
            raise _too_few(name, number, splits)


def _too_few(name: str, groups: int, splits: Sequence[Split]) -> SplitError:
    return SplitError(
        f"class {name} has {groups} {'group' if groups == 1 else 'groups'}, which stay whole: it cannot be "
        f"in each of {', '.join(splits)}",
        hint="Groups are what group_by says, and images that show the same thing (`loupe dataset report`). "
        "Add images of this class from other groups, or import again with smaller groups. "
        "split.ignore_groups: true divides the groups; the accuracy may then be too high.",
    )


def _rank(seed: int, key: str) -> bytes:
    return hashlib.sha256(f"{seed}:{key}".encode()).digest()
