"""One training run, stage by stage: prepare, train, evaluate, export, verify."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from app.artifacts import (
    KERAS_MODEL,
    LITERT_MODEL,
    Input,
    Manifest,
    Output,
    Runtime,
    Serving,
    weights_sha256,
    write_artifact,
)
from app.child import Released, Reporter, StopSignal
from app.datasets.class_map import apply_class_map
from app.datasets.manifest import DatasetManifest, load_manifest
from app.datasets.tfrecord import RecordReader, ensure_records
from app.errors import OutOfMemoryError
from app.host import failpoints
from app.host.files import folder_aside
from app.networks import get_network
from app.networks.create import create_network
from app.schemas.hyperparameters import ResolvedHyperparameters
from app.schemas.progress_lines import DeviceLine, PlanLine, ProgressLine, WarningLine
from app.training.checkpoints import CheckpointStore
from app.training.device import Device, library_versions, set_up_device
from app.training.export import build_inference_model, predict_subset, save_model
from app.training.fit import Fit, read_values
from app.training.initial_weights import InitialWeights, find_initial_weights
from app.training.logs import TEST_LOG, TrainingLogs
from app.training.replicas import Replicas
from app.training.result import Best, TrainingResult
from app.training.resume import resume
from app.training.spec import Identity, TrainingSpec, load_split
from app.training.subsets import Subset, TrainingSubset, weigh_classes
from app.training.verify import compare_probabilities, replay_final_test

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Run:
    """What the stages share. ``split``: positions of each split's items in manifest and records.

    ``manifest``: the dataset with the classes that are learned; ``dataset_digest``: of the whole one.
    ``tested``: the records that the final test is measured on, of the images ``tested_items``.
    """

    spec: TrainingSpec
    initial_weights: InitialWeights
    folder: Path
    reporter: Reporter
    stop: StopSignal
    device: Device
    dataset_digest: str
    manifest: DatasetManifest
    split: dict[str, list[int]]
    reader: RecordReader
    identity: Identity
    tested: Subset
    tested_items: tuple[str, ...]

    @property
    def settings(self) -> ResolvedHyperparameters:
        return self.spec.hyperparameters

    def subset(self, name: str) -> Subset:
        return Subset(self.reader, np.array(self.split[name]))


def run_training(spec: TrainingSpec, folder: Path, reporter: Reporter, stop: StopSignal) -> TrainingResult:
    """Trains, proves and packages one model.

    Raises Released after a checkpoint when asked to leave, and the errors of app.errors with their hints.
    """
    with naming_lack_of_memory(spec):
        run = _prepare(spec, folder, reporter, stop)
        fit = _train(run)
        _leave_if_asked(stop)
        model, expected = _evaluate(run, fit)
        _leave_if_asked(stop)
        with folder_aside(spec.out) as aside:
            described = _export(run, fit, model, aside)
            _leave_if_asked(stop)
            return _verify(run, fit, aside, described, expected)


def _prepare(spec: TrainingSpec, folder: Path, reporter: Reporter, stop: StopSignal) -> Run:
    reporter.stage("preparing")
    device = set_up_device(spec.hyperparameters, spec.devices)
    reporter.emit(DeviceLine(device=device.kind, name=device.names[0], names=list(device.names)))
    if spec.devices is not None and device.kind != spec.devices.kind:
        reporter.emit(
            WarningLine(
                message="The worker has a GPU and TensorFlow does not see it: training runs on the "
                "processor. CUDA's libraries come with loupe[gpu]; LOUPE_GPUS=none says that there is none."
            )
        )
    dataset = load_manifest(spec.dataset)
    manifest = apply_class_map(dataset, spec.class_map)
    split = load_split(spec.split, manifest, needs_test=spec.evaluation_dataset is None)
    initial = find_initial_weights(spec, manifest.classes)

    def report(done: int, total: int) -> None:
        _leave_if_asked(stop)
        throttled(done, total)

    throttled = _throttle(lambda done, total: reporter.emit(ProgressLine(done=done, total=total)))
    failpoints.pass_by("records.writing")

    def read(which: DatasetManifest) -> RecordReader:
        return RecordReader(
            ensure_records(
                which,
                spec.image_root,
                spec.image_size,
                spec.records_root,
                rule=spec.resize_rule,
                progress=report,
            )
        )

    reader = read(manifest)
    tested = Subset(reader, np.array(split["test"]))
    tested_items = tuple(manifest.items[position].id for position in split["test"])
    if spec.evaluation_dataset is not None:
        other = apply_class_map(load_manifest(spec.evaluation_dataset), spec.class_map)
        # The model reads grey by its own range, whatever the other dataset's is. Written before the training,
        # so that an image that is missing costs no hours.
        other_reader = read(replace(other, pixel_range=manifest.pixel_range))
        tested = Subset(other_reader, np.arange(len(other_reader)))
        tested_items = tuple(item.id for item in other.items)
    return Run(
        spec=spec,
        initial_weights=initial,
        folder=folder,
        reporter=reporter,
        stop=stop,
        device=device,
        dataset_digest=dataset.digest,
        manifest=manifest,
        split=split,
        reader=reader,
        identity=Identity.of(spec, manifest, split, initial.digest),
        tested=tested,
        tested_items=tested_items,
    )


def _train(run: Run) -> Fit:
    spec, settings, reporter = run.spec, run.settings, run.reporter
    reporter.stage("training")
    # Imports may draw from the global generator: create_network comes from its own module, imported by now.
    keras.utils.set_random_seed(settings.seed)
    train = TrainingSubset(run.reader, np.array(run.split["train"]))
    replicas = Replicas(run.device.replicas)
    classes = len(run.manifest.classes)
    with replicas.scope():
        model = create_network(spec.network, spec.image_size, classes, dropout=settings.dropout)
    run.initial_weights.load_into(model)
    fit = Fit(
        model,
        settings,
        train,
        run.subset("valid"),
        weigh_classes(settings.class_weights, train.labels, run.manifest.classes),
        store=CheckpointStore(spec.checkpoint_root),
        checkpoint_seconds=spec.checkpoint_seconds,
        base_state={"identity": run.identity.to_json(), "environment": run.device.environment()},
        reporter=reporter,
        stop=run.stop,
        replicas=replicas,
    )
    resume(fit, spec, run.identity, run.device, reporter)
    failpoints.pass_by("resume.restored")
    reporter.emit(
        PlanLine(
            epochs=settings.epochs,
            steps_per_epoch=fit.steps_per_epoch,
            steps=settings.epochs * fit.steps_per_epoch,
            step=fit.position.step,
        )
    )
    if spec.reported_step is not None:
        fit.report_again(spec.reported_step)
    logs = TrainingLogs(
        spec.logs,
        epochs=settings.epochs,
        steps_per_epoch=fit.steps_per_epoch,
        past_steps=fit.past_steps,
        past_epochs=fit.position.epochs,
    )
    try:
        fit.run(logs)
    finally:
        logs.close()
    return fit


def _evaluate(run: Run, fit: Fit) -> tuple[keras.Model, Array]:
    """The best epoch's network as it will be shipped, and its probabilities for the records to test on."""
    run.reporter.stage("evaluating")
    assert fit.best_weights is not None
    classes = len(run.manifest.classes)
    model = build_inference_model(run.spec.network, run.spec.image_size, classes, fit.best_weights)
    return model, predict_subset(model, run.tested, run.reporter.alive)


def _export(run: Run, fit: Fit, model: keras.Model, folder: Path) -> Manifest:
    """Writes the artifact, with a manifest that lacks what has to be measured on it."""
    run.reporter.stage("exporting")
    files = [folder / KERAS_MODEL, folder / LITERT_MODEL]
    save_model(model, *files)
    assert fit.best.epoch is not None
    settings = run.settings
    manifest = Manifest(
        network=get_network(run.spec.network).name,
        image_size=run.spec.image_size,
        labels=run.manifest.classes,
        resize_rule=run.spec.resize_rule.name,
        dataset_digest=run.dataset_digest,
        split_digest=run.identity.split,
        hyperparameters=settings.model_dump(mode="json"),
        seed=settings.seed,
        best_epoch=fit.best.epoch,
        metrics={},
        weights_sha256=weights_sha256(read_values(model.weights)),
        serving=Serving(runtime="litert", precision="float32", bytes=files[1].stat().st_size),
        input=Input(resize_rule=run.spec.resize_rule.name, pixel_range=run.manifest.pixel_range),
        runtimes=(Runtime("litert", "float32", LITERT_MODEL),),
        class_map=run.spec.class_map.model_dump(mode="json") if run.spec.class_map else None,
        outputs=(Output("probabilities", len(run.manifest.classes)),),
        versions=library_versions(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )
    return write_artifact(folder, manifest, files).manifest


def _verify(run: Run, fit: Fit, aside: Path, described: Manifest, expected: Array) -> TrainingResult:
    """Replays the final test through the artifact, adds what it measured, and publishes it.

    Whether that is good enough is decided elsewhere: a model that is not can still be looked at.
    """
    run.reporter.stage("verifying")
    folder = run.folder / "verification"
    shutil.rmtree(folder, ignore_errors=True)
    replay = replay_final_test(aside, run.spec, folder, run.reporter, run.stop)
    parity = compare_probabilities(replay, run.tested_items, expected)
    shutil.copyfile(folder / TEST_LOG, run.spec.logs / TEST_LOG)
    measured = replace(
        described.with_parity(parity.model_dump()),
        metrics=asdict(replay.evaluation.metrics),
        evaluation_dataset_digest=replay.evaluation.dataset_digest if run.spec.evaluation_dataset else None,
    )
    # The manifest changes, and with it the digest; the files that were replayed stay as they are.
    artifact = write_artifact(aside, measured, [aside / name for name in described.files])
    assert fit.best.epoch is not None
    assert fit.best.value is not None
    assert fit.position.stop_reason is not None
    return TrainingResult(
        artifact=run.spec.out,
        weights_sha256=described.weights_sha256,
        best=Best(epoch=fit.best.epoch, metric=fit.best.monitor, value=fit.best.value),
        stop_reason=fit.position.stop_reason,
        evaluation=replay.evaluation.model_copy(update={"artifact_digest": artifact.digest}),
        verification=folder,
        parity=parity,
        epochs_run=len(fit.position.epochs),
        is_exact=fit.is_exact,
    )


def _leave_if_asked(stop: StopSignal) -> None:
    """Between stages and while preparing there is nothing to save that a checkpoint does not hold already."""
    if stop.release:
        raise Released


@contextmanager
def naming_lack_of_memory(spec: TrainingSpec) -> Iterator[None]:
    """Turns what Python and TensorFlow raise into OutOfMemoryError; a kill by the system leaves no time."""
    try:
        yield
    except (MemoryError, tf.errors.ResourceExhaustedError) as error:
        (height, width), batch_size = spec.image_size, spec.hyperparameters.batch_size
        raise OutOfMemoryError(
            f"Out of memory with batches of {batch_size} images of {height} x {width} pixels.",
            hint="Lower batch_size or image_size, or choose a smaller network.",
        ) from error


def _throttle(report: Callable[[int, int], None], *, seconds: float = 0.2) -> Callable[[int, int], None]:
    """Passes a call on at most once in ``seconds``, and always the last one, when all is done."""
    last = float("-inf")

    def throttled(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= seconds:
            last = time.monotonic()
            report(done, total)

    return throttled
