"""The log files: training_result.log, a line an epoch, and training_result_step.log, a line a step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.host.files import make_folder, sync

EPOCH_LOG, STEP_LOG, TEST_LOG = "training_result.log", "training_result_step.log", "test_result.log"


@dataclass(frozen=True, slots=True)
class StepRecord:
    """What one step reports. Loss and accuracy are means over the images of its batch."""

    step: int
    epoch: int
    loss: float
    accuracy: float
    learning_rate: float
    images_per_second: float


class TrainingLogs:
    """Appends to both files. They start with what the records say and nothing else, so no line is doubled."""

    def __init__(
        self,
        folder: Path,
        *,
        epochs: int,
        steps_per_epoch: int,
        past_steps: Iterable[StepRecord] = (),
        past_epochs: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        make_folder(folder)
        self._folder = folder
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._step_file = (folder / STEP_LOG).open("w", encoding="utf-8")
        self._epoch_file = (folder / EPOCH_LOG).open("w", encoding="utf-8")
        self._step_file.writelines(map(self._step_line, past_steps))
        self._epoch_file.writelines(map(self._epoch_line, past_epochs))
        self._flush()

    def add_step(self, record: StepRecord) -> None:
        self._step_file.write(self._step_line(record))
        self._step_file.flush()

    def add_epoch(self, record: Mapping[str, Any]) -> None:
        self._epoch_file.write(self._epoch_line(record))
        self._epoch_file.flush()

    def close(self) -> None:
        """What has been written outlives a loss of power once this returns."""
        for file in (self._step_file, self._epoch_file):
            file.close()
            sync(Path(file.name))
        sync(self._folder)

    def _flush(self) -> None:
        self._step_file.flush()
        self._epoch_file.flush()

    def _step_line(self, record: StepRecord) -> str:
        place = record.step - (record.epoch - 1) * self._steps_per_epoch
        return (
            f"epoch {record.epoch}/{self._epochs}, step {place}/{self._steps_per_epoch}, "
            f"loss {record.loss:.4f}, accuracy {record.accuracy:.4f}, "
            f"learning rate {record.learning_rate:.6f}, {record.images_per_second:.0f} images/s\n"
        )

    def _epoch_line(self, record: Mapping[str, Any]) -> str:
        train, valid = record["train"], record["valid"]
        line = (
            f"epoch {record['epoch']}/{self._epochs}, "
            f"train loss {train['loss']:.4f}, train accuracy {train['accuracy']:.4f}"
        )
        if valid is not None:
            line += f", valid loss {valid['loss']:.4f}, valid accuracy {valid['accuracy']:.4f}"
        line += f", {record['seconds']:.1f} s"
        return line + (", best\n" if record["best"] else "\n")
