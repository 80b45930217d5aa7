"""Trains on one and on two virtual processors in a process of its own; test_replicas.py compares them.

TensorFlow can be given virtual devices only before it computes anything, which other tests have done by then.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np

from app.child import Released, Reporter, StopSignal
from app.datasets.tfrecord import RecordReader
from app.networks.create import create_network
from app.schemas.hyperparameters import Hyperparameters
from app.schemas.progress_lines import AnyLine, StepLine
from app.training.augmentation import PARAMETERS
from app.training.checkpoints import CheckpointStore, find_checkpoints, read_checkpoint
from app.training.device import VIRTUAL_DEVICES, set_up_device
from app.training.fit import Fit, read_values
from app.training.logs import TrainingLogs
from app.training.replicas import Replicas
from app.training.spec import Devices
from app.training.steps import build_train_step
from app.training.subsets import Subset, TrainingSubset
from app.training.trainee import Trainee
from tests.training.settings import make_settings

# 105 images in batches of up to 16 are seven of 15: two devices get seven and eight of each.
COMMON: dict[str, Any] = {
    "image_size": 16,
    "batch_size": 16,
    "epochs": 2,
    "dropout": 0.0,
    "augmentation": "strong",
}
FROZEN = {"pretrained": "mdl_1", "batch_norm": "frozen", "freeze_epochs": 1}


class Trainings:
    def __init__(self, folder: Path, records: Path, split: dict[str, list[int]]) -> None:
        self.folder, self.reader = folder, RecordReader(records)
        self.split = {name: np.array(positions) for name, positions in split.items()}

    def fit(self, name: str, replicas: Replicas, **settings: Any) -> tuple[Fit, Callable[[], None]]:
        """A training, and what runs it."""
        folder = self.folder / name
        folder.mkdir(parents=True)
        resolved = make_settings(**{**COMMON, **settings})
        keras.utils.set_random_seed(resolved.seed)
        with replicas.scope():
            model = create_network("tiny_cnn", 16, 3, dropout=resolved.dropout)
        fit = Fit(
            model,
            resolved,
            TrainingSubset(self.reader, self.split["train"]),
            Subset(self.reader, self.split["valid"]),
            np.array([0.5, 1.0, 2.0], np.float32),
            store=CheckpointStore(folder / "checkpoints"),
            checkpoint_seconds=60,
            base_state={},
            reporter=Reporter(folder / "progress.jsonl"),
            stop=StopSignal(),
            replicas=replicas,
        )
        logs = TrainingLogs(folder / "logs", epochs=resolved.epochs, steps_per_epoch=fit.steps_per_epoch)
        return fit, lambda: fit.run(logs)

    def curve(self, name: str, replicas: Replicas, **settings: Any) -> dict[str, Any]:
        fit, run = self.fit(name, replicas, **settings)
        run()
        return describe(fit)

    def resumed(self, name: str, replicas: Replicas, **settings: Any) -> dict[str, Any]:
        """Ended after five steps; another process's network and optimizers would be as fresh as these."""
        first, run = self.fit(f"{name}-first", replicas, **settings)
        count, report = [0], first._reporter.emit

        def emit(line: AnyLine) -> None:
            report(line)
            count[0] += isinstance(line, StepLine)
            first._stop.release = count[0] == 5

        first._reporter.emit = emit  # type: ignore[method-assign]
        try:
            run()
        except Released:
            second, go_on = self.fit(f"{name}-second", replicas, **settings)
            newest = next(find_checkpoints([self.folder / f"{name}-first" / "checkpoints"]))
            second.restore(read_checkpoint(newest))
            assert second.position.step == 5
            go_on()
            return describe(second)
        raise AssertionError("it was not released")


def describe(fit: Fit) -> dict[str, Any]:
    return {
        "steps": [[record.loss, record.accuracy] for record in fit.past_steps],
        "valid": [[epoch["valid"]["loss"], epoch["valid"]["accuracy"]] for epoch in fit.position.epochs],
        "weights": [value.tolist() for value in read_values(fit.model.weights)],
    }


def one_step(replicas: Replicas, reader: RecordReader, weights: list[float]) -> dict[str, Any]:
    """What one step on the first images does, with dropout."""
    settings = make_settings(**{**COMMON, "augmentation": "none", "dropout": 0.5})
    keras.utils.set_random_seed(0)
    with replicas.scope():
        model = create_network("tiny_cnn", 16, 3, dropout=0.5)
        trainee = Trainee(model, settings)
    step = build_train_step(trainee, settings, replicas)
    images, labels = reader.read(np.arange(len(weights)))
    before = read_values(trainee.backbone.trainable_variables)
    parameters = np.zeros((len(weights), PARAMETERS), np.float32)
    step(images, labels, np.array(weights, np.float32), parameters, np.float32(0.01))
    after = read_values(trainee.backbone.trainable_variables)
    seeds = [variable for variable in model.variables if "seed" in variable.path]
    return {
        "mean": model.get_layer("bn0").moving_mean.numpy().tolist(),
        "change": float(max(np.abs(b - a).max() for a, b in zip(after, before, strict=True))),
        "scale": float(trainee.backbone_optimizer.scale_loss(1.0)),
        "seeds": [value.tolist() for value in read_values(seeds)],
    }


def main() -> None:
    folder, records, split = Path(sys.argv[1]), Path(sys.argv[2]), json.loads(sys.argv[3])
    os.environ[VIRTUAL_DEVICES] = "1"
    device = set_up_device(Hyperparameters(), Devices("gpu", 2, True))
    one, two = Replicas(), Replicas(device.replicas)
    trainings = Trainings(folder, records, split)
    result: dict[str, Any] = {"device": {"replicas": device.replicas, "kind": device.kind}}
    for name, replicas in (("one", one), ("two", two)):
        result[f"frozen-{name}"] = trainings.curve(f"frozen-{name}", replicas, **FROZEN)
        result[f"updated-{name}"] = trainings.curve(f"updated-{name}", replicas, pretrained="none")
        result[f"step-{name}"] = one_step(replicas, trainings.reader, [1.0] * 16)
    result["frozen-resumed"] = trainings.resumed("frozen", two, **FROZEN)
    keras.config.set_dtype_policy("mixed_float16")
    # The second half of the batch, all of it on the second device, is too much for 16 bits.
    result["overflow"] = one_step(two, trainings.reader, [1.0] * 8 + [1e6] * 8)
    (folder / "result.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main()
