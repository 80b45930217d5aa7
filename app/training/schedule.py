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
    Warm-up takes at most half of the steps, lest a short training never reaches its rate.

    The first ``freeze_epochs`` are a phase of their own that only warms up: the rest begins with small steps
    again, as the backbone's optimizer does not know its gradients yet.
    """

    kind: Literal["constant", "cosine", "step", "exponential"]
    peak: float
    steps_per_epoch: int
    epochs: int
    warmup_epochs: float = 0.0
    decay_epochs: float = 10.0
    decay_rate: float = 0.1
    freeze_epochs: int = 0

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    @property
    def frozen_steps(self) -> int:
        return self.steps_per_epoch * self.freeze_epochs

    def _warmup_steps(self, of: int) -> int:
        return min(round(self.warmup_epochs * self.steps_per_epoch), of // 2)

    def __call__(self, step: int) -> float:
        """The rate of a step; steps count from 1 over the whole training. Always greater than 0."""
        if step <= self.frozen_steps:
            return self.peak * min(1.0, step / max(1, self._warmup_steps(self.frozen_steps)))
        step, steps = step - self.frozen_steps, self.steps - self.frozen_steps
        warmup_steps = self._warmup_steps(steps)
        if step <= warmup_steps:
            return self.peak * step / warmup_steps
        elapsed = step - 1 - warmup_steps
        decays = elapsed / (self.decay_epochs * self.steps_per_epoch)
        match self.kind:
            case "constant":
                return self.peak
            case "cosine":
                return self.peak * 0.5 * (1 + math.cos(math.pi * elapsed / (steps - warmup_steps)))
            case "step":
                return float(self.peak * self.decay_rate ** math.floor(decays))
            case "exponential":
                return float(self.peak * self.decay_rate**decays)
