"""What past trainings of this installation say of the registry's figures. Pure.

The logarithm of what a training took, beside what the figures say, is taken as normal. Its middle is the
median over the past trainings that are most alike; its deviation is theirs, held near a prior that counts as
some trainings.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.forecasts.costs import (
    Seconds,
    Size,
    count_step_images,
    estimate_memory,
    estimate_seconds,
    image_seconds,
)
from app.schemas.job_kinds import JobStage

STAGES: tuple[JobStage, ...] = ("preparing", "training", "evaluating", "exporting", "verifying")
Z80 = 1.2816
"""Of the normal distribution: four fifths lie within."""
UNSEEN, PROBED = 0.5, 0.3
"""Deviations where no training has run here: another machine may be twice as fast, or as slow; the same where
its speed was measured by another network."""
_ALIKE = (0.15, 0.2, 0.35)
"""Priors of the deviation: the same network at the same size, the same network, any network."""
_PRIOR_WEIGHT = 4
_NEWEST = 8
"""Past trainings that have a say: a machine has other work at other times."""


@dataclass(frozen=True)
class Past:
    """A training that ended well, ``seconds`` after its start.

    ``image_seconds``: of a step in which all layers learn, for one image; None of a method without steps.
    ``memory_bytes``: the most that its process held; None where that was not noted.
    """

    size: Size
    seconds: float
    image_seconds: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True)
class Correction:
    """A factor as the logarithm of its median, and that logarithm's deviation.

    ``trainings``: how many it is from; ``is_same_network``: whether those are of the very network.
    """

    middle: float
    deviation: float
    trainings: int = 0
    is_same_network: bool = False

    def at(self, z: float = 0.0) -> float:
        return math.exp(self.middle + z * self.deviation)


def correct_steps(size: Size, past: Sequence[Past], probed: float | None = None) -> Correction:
    """The time of a step beside the figures.

    ``past``: the newest first. ``probed``: what this machine takes beside theirs for another task.
    """

    def ratio(one: Past) -> float | None:
        usual = image_seconds(one.size)
        return None if usual is None or one.image_seconds is None else one.image_seconds / usual

    return _correct(size, past, ratio, probed)


def correct_rest(size: Size, past: Sequence[Past], probed: float | None = None) -> Correction:
    """The time of all but steps and validations, beside the figures."""

    def ratio(one: Past) -> float | None:
        usual = estimate_seconds(one.size)
        if usual is None or one.size.method != size.method:
            return None
        rest = one.seconds - count_step_images(one.size) * (one.image_seconds or 0.0)
        # Where steps took all of it, they were slower at some time than they usually were.
        return max(rest, 0.2 * usual.rest) / usual.rest

    return _correct(size, past, ratio, probed)


def divide_into_stages(usual: Seconds, steps: Correction, rest: Correction) -> dict[JobStage, float]:
    """Seconds that are expected of each stage, in their order."""
    factor = rest.at()
    seconds = (
        usual.starting * factor,
        usual.steps * steps.at(),
        usual.evaluating * factor,
        usual.exporting * factor,
        usual.verifying * factor,
    )
    return dict(zip(STAGES, seconds, strict=True))


def correct_memory(size: Size, past: Sequence[Past]) -> Correction:
    def ratio(one: Past) -> float | None:
        if one.memory_bytes is None or one.size.method != size.method:
            return None
        return one.memory_bytes / estimate_memory(one.size)

    return _correct(size, past, ratio, None)


def _correct(
    size: Size, past: Sequence[Past], ratio: Callable[[Past], float | None], probed: float | None
) -> Correction:
    """By the past trainings that are most alike, of those that have the ratio."""
    known = [(one, math.log(found)) for one in past if (found := ratio(one)) is not None]
    same = [each for each in known if each[0].size.network.name == size.network.name]
    exact = [each for each in same if each[0].size.image_size == size.image_size]
    for prior, alike in zip(_ALIKE, (exact, same, known), strict=True):
        if alike:
            logs = [log for _, log in alike[:_NEWEST]]
            middle = statistics.median(logs)
            total = _PRIOR_WEIGHT * prior**2 + sum((log - middle) ** 2 for log in logs)
            # The next one differs from their middle by its own chance, and by that of the middle.
            deviation = math.sqrt(total / (_PRIOR_WEIGHT + len(logs)) * (1 + 1 / len(logs)))
            return Correction(middle, deviation, len(logs), is_same_network=bool(same))
    if probed is not None:
        return Correction(math.log(probed), PROBED)
    return Correction(0.0, UNSEEN)
