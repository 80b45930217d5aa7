"""A training as files of events for TensorBoard, made of what ``GET /jobs/{id}/metrics`` answers.

One folder a job, with Keras's names for its parts: ``train`` and ``valid`` stand in one chart.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from app.cli.client import Client, quoted
from app.step_times import StepTimes

MOST_POINTS = 100_000
ENDED = frozenset({"succeeded", "failed", "cancelled"})
OURS = "events.out.tfevents.*.loupe"
_UNUSUAL = re.compile(r"[^\w.-]+")
STEP_SERIES = ("loss", "accuracy", "learning_rate", "images_per_second")


class EventFile:
    """Scalars in TensorBoard's form. It begins anew: an older file of the same run would double each point.

    Raises ModuleNotFoundError without TensorBoard.
    """

    def __init__(self, folder: Path) -> None:
        # Here: no other command needs them. The record writer alone, for `EventFileWriter` loads TensorFlow.
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(OURS):
            old.unlink()
        self._event = Event
        self._file = (folder / f"events.out.tfevents.{time.time_ns()}.loupe").open("wb")
        self._records = RecordWriter(self._file)
        self._write(wall_time=time.time(), file_version="brain.Event:2")
        self._file.flush()

    def add_scalars(self, at: float, step: int, values: Mapping[str, float | None]) -> None:
        """One event; ``at``: seconds since 1970. What has no value is left out."""
        shown = [
            {"tag": tag, "simple_value": float(value)} for tag, value in values.items() if value is not None
        ]
        if shown:
            self._write(wall_time=at, step=step, summary={"value": shown})

    def add_summary(self, at: float, summary: Any) -> None:
        self._write(wall_time=at, summary=summary)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def _write(self, **fields: Any) -> None:
        self._records.write(self._event(**fields).SerializeToString())


class JobEvents:
    """The folder of one job, brought up to date as often as it is asked."""

    def __init__(self, client: Client, job_id: str, folder: Path) -> None:
        self._client, self._path, self._folder = client, f"/jobs/{quoted(job_id)}", folder
        self._files: dict[str, EventFile] = {}
        self._epochs: list[tuple[int, float]] = []
        self._last_step = 0
        self.name = job_id
        self.has_ended = False

    def refresh(self) -> None:
        """Adds what the job has got since the last call."""
        # The state before the series: those of a job that has ended are whole.
        job: dict[str, Any] = self._client.get_patiently(self._path)
        if job["started_at"] is not None:
            if not self._files:
                self._begin(job)
            # An epoch's row comes after that of its last step: so all that is newer than the last epoch.
            since = self._epochs[-1][0] if self._epochs else 0
            metrics = self._client.get_patiently(f"{self._path}/metrics", since=since, max_points=MOST_POINTS)
            self._add(job, metrics)
        if job["status"] in ENDED:
            self.has_ended = True
            self.close()

    def close(self) -> None:
        for file in self._files.values():
            file.close()

    @property
    def points(self) -> int:
        """The step up to which it is written."""
        return self._last_step

    def _begin(self, job: Mapping[str, Any]) -> None:
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb

        self.name = _UNUSUAL.sub("_", f"{job['network'] or job['kind']}-{job['id']}")
        folder = self._folder / self.name
        self._files = {part: EventFile(folder / part) for part in ("", "train", "valid")}
        settings = {"network": job["network"], **(job["hyperparameters"] or {})}
        shown = {name: one for name, one in settings.items() if isinstance(one, str | int | float)}
        started = _seconds(job["started_at"])
        self._files[""].add_summary(started, hparams_pb(shown, trial_id=job["id"], start_time_secs=started))

    def _add(self, job: Mapping[str, Any], metrics: Mapping[str, Any]) -> None:
        self._epochs += [(epoch["step"], epoch["seconds"]) for epoch in metrics["epochs"]]
        times = StepTimes(_seconds(job["started_at"]), self._epochs)
        for step in metrics["steps"]:
            if step["step"] <= self._last_step:
                continue
            values = {f"step/{name}": step[name] for name in STEP_SERIES}
            self._files["train"].add_scalars(times.at(step["step"]), step["step"], values)
        for epoch in metrics["epochs"]:
            at = times.at(epoch["step"])
            for part in ("train", "valid"):
                values = {f"epoch/{name}": epoch[f"{part}_{name}"] for name in ("loss", "accuracy")}
                self._files[part].add_scalars(at, epoch["epoch"], values)
        self._last_step = max(self._last_step, metrics["last_step"])
        if metrics["test"] and job["status"] in ENDED:
            self._files[""].add_scalars(times.at(self._last_step), len(self._epochs), _test(metrics["test"]))
        for file in self._files.values():
            file.flush()


def _test(test: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures of the final test, without their intervals."""
    return {f"test/{name}": one["value"] if isinstance(one, Mapping) else one for name, one in test.items()}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
