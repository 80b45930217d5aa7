"""Groups of images from pairs, so that one wrong pair does not join what does not belong together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

LARGE = 3
"""Images. Two such groups are joined by two pairs without a common image, or by one that is certain."""
CERTAIN = 0.5

Reason = Literal["points", "pixels"]


@dataclass(frozen=True)
class Pair:
    """Two images, by their numbers, and why they are near-duplicates.

    ``reason``: points that lie alike, or pixels that are alike. ``score``: 0 to 1, how sure. ``evidence``:
    the number of points that agree, or the correlation. ``flip``: how the second is mirrored, as in FLIPS.
    ``cover``: on what share of both images they agree.
    """

    first: int
    second: int
    reason: Reason
    score: float
    evidence: float
    flip: int
    cover: float = 1.0


@dataclass(frozen=True)
class Grouping:
    """``groups``: of at least two images, in order.

    ``doubtful``: pairs each of which alone would join two large groups.
    """

    groups: tuple[tuple[int, ...], ...]
    doubtful: tuple[Pair, ...]


def group_pairs(pairs: Sequence[Pair]) -> Grouping:
    """Joins from the surest pair to the least sure one."""
    home: dict[int, int] = {}
    members: dict[int, set[int]] = {}
    bridges: dict[tuple[int, int], list[Pair]] = defaultdict(list)

    def join(one: int, other: int) -> None:
        small, large = sorted((one, other), key=lambda name: (len(members[name]), -name))
        for image in members[small]:
            home[image] = large
        members[large] |= members.pop(small)

    for pair in sorted(pairs, key=lambda each: (-each.score, each.first, each.second)):
        for image in (pair.first, pair.second):
            if image not in home:
                home[image] = image
                members[image] = {image}
        one, other = home[pair.first], home[pair.second]
        if one == other:
            continue
        if min(len(members[one]), len(members[other])) < LARGE or pair.score >= CERTAIN:
            join(one, other)
        else:
            bridges[min(one, other), max(one, other)].append(pair)
    waiting = [pair for found in bridges.values() for pair in found]
    while (both := _find_joined(waiting, home)) is not None:
        join(*both)
    doubtful = tuple(pair for pair in waiting if home[pair.first] != home[pair.second])
    groups = sorted(tuple(sorted(group)) for group in members.values() if len(group) > 1)
    return Grouping(tuple(groups), doubtful)


def _find_joined(waiting: Sequence[Pair], home: dict[int, int]) -> tuple[int, int] | None:
    """Two groups that two pairs join which have no image in common."""
    between: dict[tuple[int, int], list[Pair]] = defaultdict(list)
    for pair in waiting:
        one, other = sorted((home[pair.first], home[pair.second]))
        if one == other:
            continue
        images = {pair.first, pair.second}
        if any(images.isdisjoint((each.first, each.second)) for each in between[one, other]):
            return one, other
        between[one, other].append(pair)
    return None
