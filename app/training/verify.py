"""Replaying the final test through the packaged model in a process of its own, and comparing with Keras."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.child import PROGRESS, RESULT, SPEC, Released, Reporter, StopSignal, read_error, write_message
from app.errors import CrashedError, ParityError, TrainingError
from app.evaluation.files import PREDICTIONS
from app.evaluation.spec import EvaluationContent, EvaluationResult, EvaluationSpec
from app.schemas.message import parse_message
from app.schemas.progress_lines import AnyLine, ProgressLine, parse_line
from app.training.parity import measure_parity
from app.training.result import Parity
from app.training.spec import TrainingSpec

Array = np.ndarray[Any, Any]
_HINT = "The model was not saved. This is a fault of Loupe or of a library: please report it."


@dataclass(frozen=True)
class Replay:
    """What the packaged model measures. ``items`` and ``probabilities`` (n, classes) are in one order."""

    folder: Path
    evaluation: EvaluationContent
    items: tuple[str, ...]
    probabilities: Array
    milliseconds: float | None = None


class ReplayProcess:
    """``python -m app.evaluation`` in ``folder``, which is made anew and keeps what the replay writes.

    The process imports its libraries while the model is being packaged, a second that nobody waits for. It
    knows nothing of the model before ``replay_final_test``, and ends with the block that it is entered for.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> ReplayProcess:
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir(parents=True)
        # The open pipe is the child's sign that this process lives.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "app.evaluation", "--wait", str(self._folder)], stdin=subprocess.PIPE
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def replay_final_test(
        self, artifact: Path, spec: TrainingSpec, reporter: Reporter, stop: StopSignal
    ) -> Replay:
        """Answers the original files by the packaged model; its progress is reported as our own.

        They are those of the test split, or all of the evaluation dataset if the spec names one. Raises
        Released when asked to leave, TrainingError with the replay's own reason when it fails.
        """
        folder, other = self._folder, spec.evaluation_dataset
        request = EvaluationSpec(
            artifact=artifact.resolve(),
            image_root=spec.image_root.resolve(),
            dataset=(other or spec.dataset).resolve(),
            split=spec.split.resolve() if other is None else None,
            subset="test" if other is None else None,
            max_error=spec.max_error,
        )
        write_message(folder / SPEC, request)
        for line in _follow(self._process, folder / PROGRESS, stop):
            if isinstance(line, ProgressLine):
                # The share of the whole training that it is, is not known here.
                reporter.emit(line.model_copy(update={"fraction": None}))
        if self._process.returncode != 0:
            raise _failure(self._process.returncode, read_error(folder))
        result = parse_message(EvaluationResult, (folder / RESULT).read_bytes(), RESULT)
        items = read_items(folder / PREDICTIONS)
        probabilities = np.load(folder / "probabilities.npy")
        return Replay(folder, result.evaluation, items, probabilities, result.milliseconds)


def read_items(path: Path) -> tuple[str, ...]:
    """The ids of the images in the table of an evaluation."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = csv.reader(file)
        next(rows)
        # By place: a class may be called as a column is.
        return tuple(row[0] for row in rows)


def compare_answers(replay: Replay, items: Sequence[str], labels: Sequence[str], expected: Array) -> Parity:
    """How far the replay is from ``expected`` (n, classes), Keras's answers to ``items`` by these ``labels``.

    Raises ParityError.
    """
    if sorted(items) != sorted(replay.items):
        raise ParityError("The packaged model was not asked about the images of the final test.", hint=_HINT)
    served = replay.evaluation.confusion_matrix.labels[: len(labels)]
    if served != tuple(labels):
        other = next(pair for pair in zip(labels, served, strict=False) if pair[0] != pair[1])
        raise ParityError(f"The packaged model says {other[1]!r} for {other[0]!r}.", hint=_HINT)
    row_of = {item: row for row, item in enumerate(items)}
    expected = expected[[row_of[item] for item in replay.items]]
    return measure_parity(
        replay.probabilities,
        expected,
        replay.items,
        images="test images",
        model="the packaged model",
        hint=_HINT,
    )


def _follow(process: subprocess.Popen[bytes], path: Path, stop: StopSignal) -> Iterator[AnyLine]:
    """Whole lines of a child's progress file, until it ends."""
    position = 0
    while True:
        has_ended = process.poll() is not None
        if path.is_file():
            with path.open("rb") as file:
                file.seek(position)
                whole, _, _ = file.read().rpartition(b"\n")
            position += len(whole) + 1 if whole else 0
            yield from map(parse_line, whole.splitlines())
        if has_ended:
            return
        if stop.release:
            raise Released
        time.sleep(0.05)


def _failure(exit_code: int, reason: dict[str, Any] | None) -> TrainingError:
    if reason is None:
        return CrashedError(f"The replay of the final test ended with exit status {exit_code}.")
    return TrainingError(f"The packaged model could not be verified: {reason['detail']}", hint=reason["hint"])
