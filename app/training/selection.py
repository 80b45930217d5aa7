"""Which epoch is the best, and when to stop waiting for a better one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Monitor = Literal["valid_accuracy", "valid_loss"]


@dataclass
class BestEpoch:
    """The best validation so far. Ties go to the lower validation loss, then to the earlier epoch."""

    monitor: Monitor
    epoch: int | None = None
    accuracy: float | None = None
    loss: float | None = None

    @property
    def value(self) -> float | None:
        return self.accuracy if self.monitor == "valid_accuracy" else self.loss

    def offer(self, epoch: int, *, accuracy: float, loss: float) -> bool:
        """Takes one validation's result, later epochs after earlier ones; whether it is the new best."""
        if self.epoch is not None and not self._is_better(accuracy, loss):
            return False
        self.epoch, self.accuracy, self.loss = epoch, accuracy, loss
        return True

    def _is_better(self, accuracy: float, loss: float) -> bool:
        assert self.accuracy is not None
        assert self.loss is not None
        if self.monitor == "valid_accuracy" and accuracy != self.accuracy:
            return accuracy > self.accuracy
        return loss < self.loss


@dataclass
class EarlyStoppingCounter:
    """Counts the validations since the monitored metric last improved by more than ``min_delta``.

    A tie that ``BestEpoch`` decides by loss is no improvement here.
    """

    monitor: Monitor
    patience: int
    min_delta: float = 0.0
    reference: float | None = None
    misses: int = 0

    def is_exhausted_by(self, *, accuracy: float, loss: float) -> bool:
        """Takes one validation's result; whether patience has run out."""
        value, sign = (accuracy, 1) if self.monitor == "valid_accuracy" else (loss, -1)
        if self.reference is None or sign * (value - self.reference) > self.min_delta:
            self.reference, self.misses = value, 0
        else:
            self.misses += 1
        return self.misses >= self.patience
