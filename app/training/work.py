"""What every way of training begins with: a device, a dataset, its split, weights to start from."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.child import Released, Reporter, StopSignal
from app.datasets.class_map import apply_class_map
from app.datasets.manifest import DatasetManifest, Item
from app.datasets.near_groups import load_dataset
from app.schemas.hyperparameters import ResolvedHyperparameters
from app.schemas.progress_lines import DeviceLine, WarningLine
from app.training.device import Device, set_up_device
from app.training.initial_weights import InitialWeights, find_initial_weights
from app.training.spec import Identity, TrainingSpec, load_split


@dataclass(frozen=True)
class Work:
    """``split``: positions of each split's items in the manifest. ``manifest``: the dataset with the classes
    that are learned; ``dataset_digest``: of the whole one. ``tested``: the dataset that the final test is
    measured on, of which all images are ``tested_items`` unless it is the same.
    """

    spec: TrainingSpec
    folder: Path
    reporter: Reporter
    stop: StopSignal
    device: Device
    initial_weights: InitialWeights
    dataset_digest: str
    manifest: DatasetManifest
    split: dict[str, list[int]]
    identity: Identity
    tested: DatasetManifest | None

    @property
    def settings(self) -> ResolvedHyperparameters:
        return self.spec.hyperparameters

    @property
    def tested_items(self) -> tuple[Item, ...]:
        """The images of the final test."""
        if self.tested is not None:
            return self.tested.items
        return tuple(self.manifest.items[position] for position in self.split["test"])

    def leave_if_asked(self) -> None:
        """For where there is nothing to save that a checkpoint does not hold already. Raises Released."""
        if self.stop.release:
            raise Released


def open_work(spec: TrainingSpec, folder: Path, reporter: Reporter, stop: StopSignal) -> Work:
    """Announces the device and reads what the spec names. Raises DatasetError, WeightsError, DeviceError."""
    reporter.stage("preparing")
    device = set_up_device(spec.hyperparameters, spec.devices)
    reporter.emit(DeviceLine(device=device.kind, name=device.names[0], names=list(device.names)))
    if spec.devices is not None and device.kind != spec.devices.kind:
        reporter.emit(
            WarningLine(
                message="The worker has a GPU and TensorFlow does not see it: training runs on the "
                "processor. CUDA's libraries come with loupe-classifier[gpu]; LOUPE_GPUS=none says that "
                "there is none."
            )
        )
    dataset = load_dataset(spec.dataset)
    manifest = apply_class_map(dataset, spec.class_map)
    split = load_split(spec.split, manifest, needs_test=spec.evaluation_dataset is None)
    initial = find_initial_weights(spec, manifest.classes)
    tested = None
    if spec.evaluation_dataset is not None:
        tested = apply_class_map(load_dataset(spec.evaluation_dataset), spec.class_map)
    return Work(
        spec=spec,
        folder=folder,
        reporter=reporter,
        stop=stop,
        device=device,
        initial_weights=initial,
        dataset_digest=dataset.digest,
        manifest=manifest,
        split=split,
        identity=Identity.of(spec, manifest, split, initial.digest),
        tested=tested,
    )


def throttle(report: Callable[[int, int], None], *, seconds: float = 0.2) -> Callable[[int, int], None]:
    """Passes a call on at most once in ``seconds``, and always the last one, when all is done."""
    last = float("-inf")

    def throttled(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= seconds:
            last = time.monotonic()
            report(done, total)

    return throttled
