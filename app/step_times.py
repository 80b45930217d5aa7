"""When the steps of a training were made: the series count steps, and only epochs have seconds."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate


class StepTimes:
    """Moments of steps, in seconds since 1970, between the ends of epochs in equal parts.

    ``started``: when the first attempt began. ``epochs``: the last step of each, ascending, and its seconds.
    What lay between attempts, such as a pause, is not counted: these are moments of training. A step after
    the last epoch takes as long as one of that epoch.
    """

    def __init__(self, started: float, epochs: Sequence[tuple[int, float]]) -> None:
        self._steps = [0, *(step for step, _ in epochs)]
        self._times = list(accumulate((seconds for _, seconds in epochs), initial=started))

    def at(self, step: int) -> float:
        if len(self._steps) == 1:
            return self._times[0]
        last = min(max(bisect_left(self._steps, step), 1), len(self._steps) - 1)
        begin, end = self._steps[last - 1], self._steps[last]
        share = (step - begin) / (end - begin)
        return self._times[last - 1] + share * (self._times[last] - self._times[last - 1])
