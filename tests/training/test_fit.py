"""The training loop on a real tiny network in this process; test_exact_resume.py does it across processes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from app.child import Released, Reporter, StopSignal
from app.errors import NotFiniteError
from app.networks.create import create_network
from app.training.checkpoints import CheckpointStore, find_checkpoints, read_checkpoint
from app.training.fit import Fit, read_values
from app.training.logs import TrainingLogs
from app.training.steps import build_evaluation_step
from app.training.subsets import Subset, TrainingSubset
from tests.training.settings import make_settings

Lines = list[dict[str, Any]]


class Attempt:
    """A Fit with its reporter, logs and checkpoints in a folder; ``signals``: step → stop signal after it."""

    def __init__(
        self,
        pictures: Any,
        folder: Path,
        *,
        checkpoint_seconds: float = 60,
        until_epoch: int | None = None,
        **settings: Any,
    ) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.settings = make_settings(
            **{
                "image_size": 16,
                "batch_size": 16,
                "epochs": 3,
                "dropout": 0.5,
                "augmentation": "strong",
                **settings,
            }
        )
        keras.utils.set_random_seed(self.settings.seed)
        self.signals: dict[int, str] = {}
        self.stop = StopSignal()
        self.reporter = Reporter(folder / "progress.jsonl")
        self.fit = Fit(
            create_network("tiny_cnn", 16, 3, dropout=self.settings.dropout),
            self.settings,
            TrainingSubset(pictures.reader, pictures.split["train"]),
            Subset(pictures.reader, pictures.split["valid"]),
            np.ones(3, np.float32),
            store=CheckpointStore(folder / "checkpoints"),
            checkpoint_seconds=checkpoint_seconds,
            base_state={},
            reporter=self.reporter,
            stop=self.stop,
            until_epoch=until_epoch,
        )

    def run(self) -> None:
        logs = SignallingLogs(self)
        try:
            self.fit.run(logs)
        finally:
            logs.close()

    def lines(self, kind: str) -> Lines:
        lines = map(json.loads, (self.folder / "progress.jsonl").read_text().splitlines())
        return [line for line in lines if line["kind"] == kind]

    def newest(self) -> Any:
        return read_checkpoint(next(find_checkpoints([self.folder / "checkpoints"])))


class SignallingLogs(TrainingLogs):
    """Logs that raise a stop signal when a step is logged, as a signal handler would in the middle of one."""

    def __init__(self, attempt: Attempt) -> None:
        steps_per_epoch = attempt.fit.steps_per_epoch
        super().__init__(
            attempt.folder / "logs", epochs=attempt.settings.epochs, steps_per_epoch=steps_per_epoch
        )
        self._attempt = attempt

    def add_step(self, record: Any) -> None:
        super().add_step(record)
        if record.step in self._attempt.signals:
            setattr(self._attempt.stop, self._attempt.signals[record.step], True)


@pytest.fixture
def make_attempt(pictures: Any, tmp_path: Path) -> Iterator[Callable[..., Attempt]]:
    with ExitStack() as stack:

        def make(name: str = "one", **settings: Any) -> Attempt:
            attempt = Attempt(pictures, tmp_path / name, **settings)
            stack.callback(attempt.reporter.close)
            return attempt

        yield make


def strip(lines: Lines, *volatile: str) -> Lines:
    return [{key: value for key, value in line.items() if key not in ("time", *volatile)} for line in lines]


def equal_bits(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return [value.tobytes() for value in first] == [value.tobytes() for value in second]


def test_a_training_released_and_resumed_twice_ends_with_the_bits_of_an_undisturbed_one(
    make_attempt: Callable[..., Attempt],
) -> None:
    whole = make_attempt("whole")
    whole.run()
    steps: Lines = []
    epochs: Lines = []
    last: Attempt | None = None
    # In the middle of the first epoch; after the last step of the second, before its validation; never.
    for number, step in enumerate([3, 2 * whole.fit.steps_per_epoch, None]):
        attempt = make_attempt(f"part-{number}")
        if last is not None:
            # What a fresh process would have left differently, had it not been restored.
            for variable in attempt.fit.model.variables:
                variable.assign(variable + 1)
            attempt.fit.restore(last.newest())
        if step is None:
            attempt.run()
        else:
            attempt.signals[step] = "release"
            with pytest.raises(Released):
                attempt.run()
        steps += attempt.lines("step")
        epochs += attempt.lines("epoch")
        last = attempt
    assert last is not None
    assert strip(steps, "images_per_second") == strip(whole.lines("step"), "images_per_second")
    assert strip(epochs, "seconds") == strip(whole.lines("epoch"), "seconds")
    assert equal_bits(read_values(last.fit.model.variables), read_values(whole.fit.model.variables))
    ends = [read_values(attempt.fit.trainee.optimizer_variables) for attempt in (last, whole)]
    assert equal_bits(*ends)
    assert last.fit.best_weights is not None
    assert whole.fit.best_weights is not None
    assert equal_bits(last.fit.best_weights, whole.fit.best_weights)


def test_an_epoch_reports_means_over_pictures_and_not_over_batches(
    make_attempt: Callable[..., Attempt],
) -> None:
    attempt = make_attempt(epochs=1, batch_size=60)
    attempt.run()
    pictures = len(attempt.fit._train)
    sizes = [len(part) for part in np.array_split(range(pictures), attempt.fit.steps_per_epoch)]
    assert len(set(sizes)) == 2
    train = attempt.lines("epoch")[0]["train"]
    for name in ("loss", "accuracy"):
        total = sum(size * line[name] for size, line in zip(sizes, attempt.lines("step"), strict=True))
        assert train[name] == pytest.approx(total / pictures, rel=1e-9)


def test_the_best_weights_are_those_that_gave_the_best_validation(
    make_attempt: Callable[..., Attempt], pictures: Any
) -> None:
    attempt = make_attempt(epochs=6, learning_rate=0.02, learning_rate_schedule="constant")
    attempt.run()
    epochs = attempt.lines("epoch")
    key = [(line["valid"]["accuracy"], -line["valid"]["loss"]) for line in epochs]
    best = key.index(max(key))
    assert attempt.fit.best.epoch == best + 1
    assert [line["best"] for line in epochs] == [
        value > max(key[:i], default=(-1,)) for i, value in enumerate(key)
    ]
    assert attempt.fit.best_weights is not None
    for variable, value in zip(attempt.fit.model.weights, attempt.fit.best_weights, strict=True):
        variable.assign(value)
    valid = Subset(pictures.reader, pictures.split["valid"])
    loss, correct = build_evaluation_step(attempt.fit.model)(*pictures.reader.read(valid.positions)).numpy()
    assert loss / len(valid) == pytest.approx(epochs[best]["valid"]["loss"], rel=1e-5)
    assert correct / len(valid) == epochs[best]["valid"]["accuracy"]


def test_validation_is_as_frequent_as_asked_and_never_misses_the_last_epoch(
    make_attempt: Callable[..., Attempt],
) -> None:
    attempt = make_attempt(epochs=4, validation_freq=3)
    attempt.run()
    assert [line["valid"] is not None for line in attempt.lines("epoch")] == [False, False, True, True]
    assert attempt.fit.position.stop_reason == "completed"


def test_early_stopping_ends_the_training_and_its_checkpoint_says_so(
    make_attempt: Callable[..., Attempt],
) -> None:
    attempt = make_attempt(epochs=50, early_stopping={"patience": 2, "min_delta": 1.0})
    attempt.run()
    assert len(attempt.lines("epoch")) == 3
    assert attempt.fit.position.stop_reason == "early_stopped"
    assert attempt.newest().state["position"]["stop_reason"] == "early_stopped"


def test_finish_after_a_validation_ends_after_the_step_with_the_best_epoch(
    make_attempt: Callable[..., Attempt],
) -> None:
    attempt = make_attempt(epochs=9)
    attempt.signals[attempt.fit.steps_per_epoch + 2] = "finish"
    attempt.run()
    assert len(attempt.lines("step")) == attempt.fit.steps_per_epoch + 2
    assert len(attempt.lines("epoch")) == 1
    assert (attempt.fit.position.stop_reason, attempt.fit.best.epoch) == ("stopped_by_user", 1)


def test_finish_before_any_validation_validates_first(make_attempt: Callable[..., Attempt]) -> None:
    attempt = make_attempt(epochs=9)
    attempt.signals[2] = "finish"
    attempt.run()
    assert len(attempt.lines("step")) == 2
    assert attempt.lines("epoch")[0]["valid"] is not None
    assert attempt.fit.best_weights is not None
    again = make_attempt("again", epochs=9)
    again.fit.restore(attempt.newest())
    again.run()
    assert again.lines("step") == []


def test_a_loss_that_is_not_finite_ends_the_training_with_the_step_and_a_hint(
    make_attempt: Callable[..., Attempt],
) -> None:
    attempt = make_attempt()
    attempt.fit.model.trainable_variables[0].assign(attempt.fit.model.trainable_variables[0] * math.nan)
    with pytest.raises(NotFiniteError, match=r"step 1 \(epoch 1") as error:
        attempt.run()
    assert "learning_rate" in str(error.value.hint)
    assert attempt.lines("step") == attempt.lines("checkpoint") == []


def test_checkpoints_within_an_epoch_come_when_their_time_has_come(
    make_attempt: Callable[..., Attempt],
) -> None:
    attempt = make_attempt(epochs=1, checkpoint_seconds=0)
    attempt.run()
    steps = [line["step"] for line in attempt.lines("checkpoint")]
    whole = attempt.fit.steps_per_epoch
    assert steps == [*range(1, whole + 1), whole]
    assert len(list((attempt.folder / "checkpoints").iterdir())) == 2


def test_what_nobody_may_have_read_is_reported_again(make_attempt: Callable[..., Attempt]) -> None:
    first = make_attempt("first")
    first.signals[10] = "release"
    with pytest.raises(Released):
        first.run()
    second = make_attempt("second")
    second.fit.restore(first.newest())
    second.fit.report_again(after_step=4)
    assert strip(second.lines("step")) == strip(first.lines("step"))[4:]
    assert strip(second.lines("epoch")) == strip(first.lines("epoch"))


def test_a_checkpoint_of_another_network_changes_nothing(make_attempt: Callable[..., Attempt]) -> None:
    first, second = make_attempt("first", epochs=1), make_attempt("second", epochs=1, optimizer="sgd")
    first.run()
    before = read_values(second.fit.model.variables)
    with pytest.raises(ValueError, match="optimizer"):
        second.fit.restore(first.newest())
    assert equal_bits(read_values(second.fit.model.variables), before)
    assert second.fit.position.step == 0


def test_a_training_that_rested_for_a_comparison_ends_with_the_same_weights(
    make_attempt: Callable[..., Attempt],
) -> None:
    undisturbed, rested, further, last = (
        make_attempt("undisturbed", validation_freq=3),
        make_attempt("rested", validation_freq=3, until_epoch=1),
        make_attempt("further", validation_freq=3, until_epoch=2),
        make_attempt("last", validation_freq=3),
    )
    undisturbed.run()
    rested.run()
    (epoch,) = rested.lines("epoch")
    assert epoch["valid"] is not None, "what is compared is validated, whatever validation_freq says"
    assert rested.fit.position.stop_reason is None
    for before, attempt in ((rested, further), (further, last)):
        attempt.fit.restore(before.newest())
        attempt.run()
    assert last.fit.position.stop_reason == "completed"
    pairs = zip(undisturbed.fit.model.variables, last.fit.model.variables, strict=True)
    assert all(np.array_equal(one.numpy(), other.numpy()) for one, other in pairs)
    again = make_attempt("again", validation_freq=3, until_epoch=2)
    again.fit.restore(further.newest())
    again.run()
    assert again.lines("step") == [], "it had come so far before"
