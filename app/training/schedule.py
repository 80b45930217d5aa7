"""The learning rate as a pure function of the step, so that nothing about it has to be stored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class LearningRateSchedule:
    """Linear warm-up from 0 to ``peak``, then the decay named by ``kind``, which starts where warm-up ends.

    ``cosine`` falls to 0 over the steps that remain (Loshchilov and Hutter, arXiv 1608.03983, no restarts);
    ``step`` multiplies by ``decay_rate`` every ``decay_epochs``; ``exponential`` does so smoothly.
    Warm-up takes at most half of all steps, lest a short training never reaches its rate.
    """

    kind: Literal["constant", "cosine", "step", "exponential"]
    peak: float
    steps_per_epoch: int
    epochs: int
    warmup_epochs: float = 0.0
    decay_epochs: float = 10.0
    decay_rate: float = 0.1

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    @property
    def warmup_steps(self) -> int:
        return min(round(self.warmup_epochs * self.steps_per_epoch), self.steps // 2)

    def __call__(self, step: int) -> float:
        """The rate of a step; steps count from 1 over the whole training. Always greater than 0."""
        if step <= self.warmup_steps:
            return self.peak * step / self.warmup_steps
        elapsed = step - 1 - self.warmup_steps
        decays = elapsed / (self.decay_epochs * self.steps_per_epoch)
        match self.kind:
            case "constant":
                return self.peak
            case "cosine":
                return self.peak * 0.5 * (1 + math.cos(math.pi * elapsed / (self.steps - self.warmup_steps)))
            case "step":
                return float(self.peak * self.decay_rate ** math.floor(decays))
            case "exponential":
                return float(self.peak * self.decay_rate**decays)
