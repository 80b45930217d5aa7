"""The training loop: steps, validation, best epoch, early stopping, checkpoints and the way back from one."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import keras
import numpy as np

from app.child import Released, Reporter, StopSignal
from app.errors import NotFiniteError
from app.host import failpoints
from app.schemas.hyperparameters import ResolvedHyperparameters
from app.schemas.job import StopReason
from app.schemas.progress_lines import CheckpointLine, EpochLine, StepLine
from app.training.checkpoints import Checkpoint, CheckpointStore
from app.training.data_order import count_steps
from app.training.logs import StepRecord, TrainingLogs
from app.training.replicas import Replicas
from app.training.schedule import LearningRateSchedule
from app.training.selection import BestEpoch, EarlyStoppingCounter
from app.training.steps import ONE, build_evaluation_step, build_train_step
from app.training.subsets import Subset, TrainingSubset
from app.training.trainee import Trainee

Array = np.ndarray[Any, Any]


@dataclass
class Sums:
    """Totals over the images of the epoch so far; ``seconds`` leaves out waits between attempts."""

    loss: float = 0.0
    correct: float = 0.0
    items: int = 0
    seconds: float = 0.0


@dataclass
class Position:
    """Where training is: steps done in all and in the current epoch, which counts from 1."""

    step: int = 0
    epoch: int = 1
    step_in_epoch: int = 0
    stop_reason: StopReason | None = None
    sums: Sums = field(default_factory=Sums)
    epochs: list[dict[str, Any]] = field(default_factory=list)


class Fit:
    """One network's training, from step 0 or a checkpoint, until a reason to stop.

    With several ``replicas`` the model must have been made in their scope.
    ``best_weights`` are the values of ``model.weights`` at the best epoch. ``base_state`` is written into
    each checkpoint beside the loop's own state. ``until_epoch``: see ``TrainingSpec``.
    """

    def __init__(
        self,
        model: keras.Model,
        settings: ResolvedHyperparameters,
        train: TrainingSubset,
        valid: Subset,
        class_weights: Array,
        *,
        store: CheckpointStore,
        checkpoint_seconds: float,
        base_state: dict[str, Any],
        reporter: Reporter,
        stop: StopSignal,
        replicas: Replicas = ONE,
        until_epoch: int | None = None,
    ) -> None:
        self.model, self.settings = model, settings
        self._train, self._valid, self._class_weights = train, valid, class_weights
        self._store, self._checkpoint_seconds, self._base_state = store, checkpoint_seconds, base_state
        self._reporter, self._stop = reporter, stop
        self._until_epoch = until_epoch
        self.steps_per_epoch = count_steps(len(train), settings.batch_size)
        self.rate_at = LearningRateSchedule(
            kind=settings.learning_rate_schedule,
            peak=settings.learning_rate,
            steps_per_epoch=self.steps_per_epoch,
            epochs=settings.epochs,
            warmup_epochs=settings.warmup_epochs,
            decay_epochs=settings.decay_epochs,
            decay_rate=settings.decay_rate,
            freeze_epochs=settings.freeze_epochs,
        )
        with replicas.scope():
            self.trainee = Trainee(model, settings)
        self._frozen_step = build_train_step(self.trainee, settings, replicas, is_frozen=True)
        self._train_step = build_train_step(self.trainee, settings, replicas)
        self._evaluation_step = build_evaluation_step(model, replicas)
        self.position = Position()
        self.best = BestEpoch(settings.monitor)
        self.best_weights: list[Array] | None = None
        self._early_stopping: EarlyStoppingCounter | None = None
        if settings.early_stopping is not None:
            self._early_stopping = EarlyStoppingCounter(
                settings.monitor, **settings.early_stopping.model_dump()
            )
        # A row a step: loss, accuracy, learning rate, images per second. Rows not reached cost no memory.
        self._history = np.zeros((self.rate_at.steps, 4))
        self.is_exact = True
        self._clock = self._checkpointed = time.monotonic()

    # --- The way back ------------------------------------------------------------------------------------

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continues where a checkpoint was made. ValueError when another network or optimizer made it."""
        state, arrays = checkpoint.state, checkpoint.arrays
        position = Position(**{**state["position"], "sums": Sums(**state["position"]["sums"])})
        best = BestEpoch(**state["best"])
        early_stopping = state["early_stopping"] and EarlyStoppingCounter(**state["early_stopping"])
        history = arrays["history"][0]
        for name, variables in self._variables().items():
            check_shapes(name, variables, arrays[name])
        # All is read before anything is changed: a checkpoint that does not fit must leave step 0 as it is.
        for name, variables in self._variables().items():
            for variable, value in zip(variables, arrays[name], strict=True):
                variable.assign(value)
        self._history[: len(history)] = history
        self.position, self.best, self._early_stopping = position, best, early_stopping
        self.best_weights = arrays.get("best")
        self.is_exact = state["exact"]
        self._store.sequence = state["sequence"]

    @property
    def past_steps(self) -> Iterator[StepRecord]:
        """What the steps done so far reported, those of earlier attempts included."""
        for number, values in enumerate(self._history[: self.position.step].tolist(), start=1):
            yield StepRecord(number, (number - 1) // self.steps_per_epoch + 1, *values)

    def report_again(self, after_step: int) -> None:
        """Reports steps and epochs anew that an earlier attempt made and nobody may have read."""
        for record in self.past_steps:
            if record.step > after_step:
                self._reporter.emit(StepLine(**asdict(record)))
        for epoch in self.position.epochs:
            if epoch["step"] > after_step:
                self._reporter.emit(EpochLine(**epoch))

    def _variables(self) -> dict[str, Sequence[Any]]:
        # model.variables and not model.weights: the states of dropout's random generators belong to it.
        return {"model": self.model.variables, "optimizer": self.trainee.optimizer_variables}

    def _checkpoint(self) -> None:
        state = {
            **self._base_state,
            "exact": self.is_exact,
            "position": asdict(self.position),
            "best": asdict(self.best),
            "early_stopping": None if self._early_stopping is None else asdict(self._early_stopping),
        }
        arrays = {name: read_values(variables) for name, variables in self._variables().items()}
        arrays["history"] = [self._history[: self.position.step]]
        if self.best_weights is not None:
            arrays["best"] = self.best_weights
        folder, digest = self._store.write(state, arrays)
        at = self.position
        self._reporter.emit(CheckpointLine(step=at.step, epoch=at.epoch, folder=str(folder), digest=digest))
        self._store.prune()
        self._clock = self._checkpointed = time.monotonic()

    # --- The loop ----------------------------------------------------------------------------------------

    def run(self, logs: TrainingLogs) -> None:
        """Trains until a reason to stop, or to ``until_epoch``. Raises Released after a checkpoint,
        NotFiniteError.
        """
        self._clock = self._checkpointed = time.monotonic()
        while self.position.stop_reason is None and not self._is_far_enough:
            self._run_steps(logs)
            is_whole = self.position.step_in_epoch == self.steps_per_epoch
            if is_whole or self.best.epoch is None:
                self._close_epoch(logs)
            else:
                self.position.stop_reason = "stopped_by_user"
            self._checkpoint()

    @property
    def _is_far_enough(self) -> bool:
        return self._until_epoch is not None and len(self.position.epochs) >= self._until_epoch

    def _run_steps(self, logs: TrainingLogs) -> None:
        """The steps that the epoch still lacks, or fewer when asked to finish."""
        at = self.position
        batches = self._train.read_epoch(at.epoch, self.settings, self._class_weights, start=at.step_in_epoch)
        for batch in batches:
            self._run_step(batch, logs)
            failpoints.pass_by("train.step")
            if self._stop.release:
                self._release()
            if self._stop.finish:
                return
            if time.monotonic() - self._checkpointed >= self._checkpoint_seconds:
                self._checkpoint()

    def _run_step(self, batch: Any, logs: TrainingLogs) -> None:
        at, items = self.position, len(batch.labels)
        rate = self.rate_at(at.step + 1)
        train_step = self._frozen_step if at.epoch <= self.settings.freeze_epochs else self._train_step
        totals = train_step(batch.images, batch.labels, batch.weights, batch.parameters, np.float32(rate))
        loss, correct = (float(total) for total in totals.numpy())
        if not math.isfinite(loss):
            raise _not_finite("training", at.step + 1, at.epoch, rate)
        seconds = self._lap()
        at.step += 1
        at.step_in_epoch += 1
        at.sums.loss += loss
        at.sums.correct += correct
        at.sums.items += items
        record = StepRecord(at.step, at.epoch, loss / items, correct / items, rate, items / seconds)
        self._history[at.step - 1] = (
            record.loss,
            record.accuracy,
            record.learning_rate,
            record.images_per_second,
        )
        self._reporter.emit(StepLine(**asdict(record)))
        logs.add_step(record)

    def _close_epoch(self, logs: TrainingLogs) -> None:
        at, settings = self.position, self.settings
        is_last = at.epoch == settings.epochs or self._stop.finish
        is_due = is_last or at.epoch == self._until_epoch or at.epoch % settings.validation_freq == 0
        valid = self._validate() if is_due else None
        is_best = valid is not None and self.best.offer(at.epoch, **valid)
        if is_best:
            self.best_weights = read_values(self.model.weights)
        is_exhausted = (
            valid is not None
            and self._early_stopping is not None
            and self._early_stopping.is_exhausted_by(**valid)
        )
        self._lap()
        record = {
            "epoch": at.epoch,
            "step": at.step,
            "train": {"loss": at.sums.loss / at.sums.items, "accuracy": at.sums.correct / at.sums.items},
            "valid": valid,
            "best": is_best,
            "seconds": round(at.sums.seconds, 3),
            "learning_rate": self.rate_at(at.step),
        }
        at.epochs.append(record)
        self._reporter.emit(EpochLine(**record))
        logs.add_epoch(record)
        if at.epoch == settings.epochs and at.step_in_epoch == self.steps_per_epoch:
            at.stop_reason = "completed"
        elif self._stop.finish:
            at.stop_reason = "stopped_by_user"
        elif is_exhausted:
            at.stop_reason = "early_stopped"
        else:
            at.epoch, at.step_in_epoch, at.sums = at.epoch + 1, 0, Sums()

    def _validate(self) -> dict[str, float]:
        loss = correct = 0.0
        for images, labels in self._valid.read_in_order():
            totals = self._evaluation_step(images, labels).numpy()
            loss, correct = loss + float(totals[0]), correct + float(totals[1])
            self._reporter.alive()
            if self._stop.release:
                self._release()
        if not math.isfinite(loss):
            raise _not_finite(
                "validation", self.position.step, self.position.epoch, self.rate_at(self.position.step)
            )
        return {"loss": loss / len(self._valid), "accuracy": correct / len(self._valid)}

    def _release(self) -> None:
        self._lap()
        self._checkpoint()
        raise Released

    def _lap(self) -> float:
        """Seconds since the last call, added to the epoch's."""
        now = time.monotonic()
        seconds, self._clock = max(now - self._clock, 1e-9), now
        self.position.sums.seconds += seconds
        return seconds


def read_values(variables: Sequence[Any]) -> list[Array]:
    """Copies of the variables' values, which later updates leave alone."""
    return [np.array(variable.numpy()) for variable in variables]


def check_shapes(name: str, variables: Sequence[Any], values: Sequence[Array]) -> None:
    """ValueError unless the values fit the variables one by one."""
    expected = [(tuple(variable.shape), variable.dtype) for variable in variables]
    if expected != [(value.shape, str(value.dtype)) for value in values]:
        raise ValueError(f"the {name} variables have other shapes")


def _not_finite(what: str, step: int, epoch: int, rate: float) -> NotFiniteError:
    return NotFiniteError(
        f"The {what} loss is not finite at step {step} (epoch {epoch}, learning rate {rate:g}).",
        hint="Lower learning_rate, or lengthen warmup_epochs; on a GPU also try mixed_precision: false.",
    )
