"""One training run, stage by stage: prepare, train, evaluate, export, verify."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np

from app.artifacts import KERAS_MODEL, LITERT_MODEL, Manifest, Serving, weights_sha256, write_artifact
from app.child import Released, Reporter, StopSignal
from app.datasets.manifest import DatasetManifest, load_manifest
from app.datasets.tfrecord import RecordReader, ensure_records
from app.images import RESIZE_RULE
from app.networks import get_network
from app.networks.create import create_network
from app.training.checkpoints import CheckpointStore
from app.training.device import library_versions, set_up_device
from app.training.export import build_inference_model, predict_subset, save_model
from app.training.fit import Fit, read_values
from app.training.logs import TEST_LOG, TrainingLogs
from app.training.resume import resume
from app.training.spec import Identity, TrainingSpec, load_split, parse_spec
from app.training.subsets import Subset, TrainingSubset, weigh_classes
from app.training.verify import Replay, compare_probabilities, replay_test_split


def run_training(
    spec_json: Mapping[str, Any], folder: Path, reporter: Reporter, stop: StopSignal
) -> dict[str, Any]:
    """Trains, proves and packages one model; what it returns becomes result.json.

    Raises Released after a checkpoint when asked to leave, and the errors of app.errors with their hints.
    """
    spec = parse_spec(spec_json)
    device = set_up_device(spec.hyperparameters)
    reporter.stage("preparing")
    reporter.emit("device", device=device.kind, name=device.name)
    manifest = load_manifest(spec.dataset)
    split = load_split(spec.split, manifest)
    reader = _prepare_records(spec, manifest, reporter, stop)
    identity = Identity.of(spec, manifest, split)
    base_state = {"identity": identity.to_json(), "environment": device.environment()}

    reporter.stage("training")
    fit = _create_fit(spec, manifest, reader, split, base_state, reporter, stop)
    resume(fit, spec, identity, device, reporter)
    _train(fit, spec, reporter)
    _leave_if_asked(stop)

    reporter.stage("evaluating")
    assert fit.best_weights is not None
    model = build_inference_model(spec.network, spec.image_size, len(manifest.classes), fit.best_weights)
    expected = predict_subset(model, Subset(reader, np.array(split["test"])))
    _leave_if_asked(stop)

    reporter.stage("exporting")
    aside = spec.out.with_name(f".{spec.out.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    files = [aside / KERAS_MODEL, aside / LITERT_MODEL]
    save_model(model, *files)
    described = _describe_model(spec, manifest, identity, fit, model, files[1].stat().st_size)
    write_artifact(aside, described, files)
    _leave_if_asked(stop)

    reporter.stage("verifying")
    replayed = folder / "verification"
    shutil.rmtree(replayed, ignore_errors=True)
    replay = replay_test_split(aside, spec, replayed, reporter, stop)
    parity = compare_probabilities(replay, [manifest.items[p].id for p in split["test"]], expected)
    shutil.copyfile(replay.folder / TEST_LOG, spec.logs / TEST_LOG)
    evaluation, is_kept = replay.evaluation, _passes(replay, spec.hyperparameters.min_accuracy)
    if is_kept:
        serving = replace(described.serving, parity=parity)
        measured = replace(described, serving=serving, metrics=evaluation["metrics"])
        # The manifest changes, and with it the digest: the files that were replayed stay as they are.
        evaluation = {**evaluation, "artifact_digest": write_artifact(aside, measured, files).digest}
        aside.rename(spec.out)
    else:
        shutil.rmtree(aside)
    return {
        "artifact": str(spec.out) if is_kept else None,
        "below_min_accuracy": not is_kept,
        "weights_sha256": described.weights_sha256,
        "best": {"epoch": fit.best.epoch, "metric": fit.best.monitor, "value": fit.best.value},
        "stop_reason": fit.position.stop_reason,
        "evaluation": evaluation,
        "verification": str(replay.folder),
        "parity": parity,
        "epochs_run": len(fit.position.epochs),
        "is_exact": fit.is_exact,
    }


def _prepare_records(
    spec: TrainingSpec, manifest: DatasetManifest, reporter: Reporter, stop: StopSignal
) -> RecordReader:
    def report(done: int, total: int) -> None:
        _leave_if_asked(stop)
        throttled(done, total)

    throttled = _throttle(lambda done, total: reporter.emit("progress", done=done, total=total))
    folder = ensure_records(manifest, spec.image_root, spec.image_size, spec.records_root, progress=report)
    return RecordReader(folder)


def _create_fit(
    spec: TrainingSpec,
    manifest: DatasetManifest,
    reader: RecordReader,
    split: Mapping[str, list[int]],
    base_state: dict[str, Any],
    reporter: Reporter,
    stop: StopSignal,
) -> Fit:
    settings = spec.hyperparameters
    # Imports draw from the global generator too: create_network comes from its own module, imported by now.
    keras.utils.set_random_seed(settings.seed)
    model = create_network(
        spec.network, spec.image_size, len(manifest.classes), preprocessing=True, dropout=settings.dropout
    )
    train = TrainingSubset(reader, np.array(split["train"]))
    return Fit(
        model,
        settings,
        train,
        Subset(reader, np.array(split["valid"])),
        weigh_classes(settings.class_weights, train.labels, manifest.classes),
        store=CheckpointStore(spec.checkpoint_root),
        checkpoint_seconds=spec.checkpoint_seconds,
        base_state=base_state,
        reporter=reporter,
        stop=stop,
    )


def _train(fit: Fit, spec: TrainingSpec, reporter: Reporter) -> None:
    epochs, steps_per_epoch = spec.hyperparameters.epochs, fit.steps_per_epoch
    reporter.emit("plan", epochs=epochs, steps_per_epoch=steps_per_epoch, steps=epochs * steps_per_epoch)
    if spec.reported_step is not None:
        fit.report_again(spec.reported_step)
    logs = TrainingLogs(
        spec.logs,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        past_steps=fit.past_steps,
        past_epochs=fit.position.epochs,
    )
    try:
        fit.run(logs)
    finally:
        logs.close()


def _describe_model(
    spec: TrainingSpec,
    manifest: DatasetManifest,
    identity: Identity,
    fit: Fit,
    model: keras.Model,
    litert_bytes: int,
) -> Manifest:
    """The artifact's manifest before anything was measured on the packaged model."""
    assert fit.best.epoch is not None
    return Manifest(
        network=get_network(spec.network).name,
        image_size=spec.image_size,
        labels=manifest.classes,
        resize_rule=RESIZE_RULE,
        dataset_digest=manifest.digest,
        split_digest=identity.split,
        hyperparameters=spec.hyperparameters.model_dump(mode="json"),
        seed=spec.hyperparameters.seed,
        best_epoch=fit.best.epoch,
        metrics={},
        weights_sha256=weights_sha256(read_values(model.weights)),
        serving=Serving(runtime="litert", precision="float32", bytes=litert_bytes),
        versions=library_versions(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )


def _passes(replay: Replay, min_accuracy: float | None) -> bool:
    accuracy: float = replay.evaluation["metrics"]["accuracy"]["value"]
    return min_accuracy is None or accuracy >= min_accuracy


def _leave_if_asked(stop: StopSignal) -> None:
    """Between stages and while preparing there is nothing to save that a checkpoint does not hold already."""
    if stop.release:
        raise Released


def _throttle(report: Callable[[int, int], None], *, seconds: float = 0.2) -> Callable[[int, int], None]:
    """Passes a call on at most once in ``seconds``, and always the last one, when all is done."""
    last = float("-inf")

    def throttled(done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last >= seconds:
            last = time.monotonic()
            report(done, total)

    return throttled
