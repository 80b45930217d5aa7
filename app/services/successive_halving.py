"""Successive halving: when candidates are compared, and which of them go on. Pure.

Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization (AISTATS 2016,
arXiv 1502.07943), with a factor of 2: all candidates train for a share of their epochs, the better half goes
on for twice as long, until one is left. Where a candidate has too few epochs for so many cuts, the first ones
are left out, as in the higher brackets of Hyperband (Li et al., JMLR 18, 2018, arXiv 1603.06560): an early
comparison is the one that errs most.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.schemas.sweep_state import Candidate, Score


def plan_cuts(candidates: int, trainings: Sequence[tuple[int, int]]) -> int:
    """How often to halve: until one is left, or as often as the shortest training allows.

    ``trainings``: for each candidate its epochs, and those at the start in which the backbone is frozen.
    """
    wanted = math.ceil(math.log2(candidates)) if candidates > 1 else 0
    return min([wanted, *(len(_halves(*training)) for training in trainings)])


def plan_rungs(epochs: int, frozen: int, cuts: int) -> tuple[int, ...]:
    """The epochs at which one candidate is compared: ``cuts`` of them, each about half of the next, then all.

    ``cuts``: at most what ``plan_cuts`` allows.
    """
    halves = _halves(epochs, frozen)
    return (*halves[len(halves) - cuts :], epochs)


def _halves(epochs: int, frozen: int) -> list[int]:
    """Half of the epochs, a quarter and so on, rising.

    The first lies behind the frozen epochs, where what sets networks apart begins, but not past the middle.
    """
    first = min(frozen + 1, math.ceil(epochs / 2))
    halves: list[int] = []
    part = epochs
    while (part := math.ceil(part / 2)) >= first and part < (halves[0] if halves else epochs):
        halves.insert(0, part)
    return halves


def count_survivors(candidates: int, cuts_done: int) -> int:
    """Of so many at the beginning, those that go on after a cut; it counts for ``cuts_done``."""
    return max(1, math.ceil(candidates / (1 << cuts_done)))


def rank(candidates: Sequence[Candidate], monitor: str) -> list[Candidate]:
    """Best first by validation; ties go to the other figure, then to the faster network.

    One that was never validated comes last.
    """

    def key(candidate: Candidate) -> tuple[float, ...]:
        milliseconds = math.inf if candidate.milliseconds is None else candidate.milliseconds
        return (*_cost(candidate.score, monitor), milliseconds, candidate.number)

    return sorted(candidates, key=key)


def _cost(score: Score | None, monitor: str) -> tuple[float, float]:
    if score is None:
        return math.inf, math.inf
    figures = (-score.accuracy, score.loss)
    return figures if monitor == "valid_accuracy" else (figures[1], figures[0])
