"""From a trained network to a proved model: the artifact, and the replay of the final test through it."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import keras
import numpy as np

from app.artifacts import (
    CLASSIFIER,
    KERAS_MODEL,
    LITERT_MODEL,
    REFERENCES,
    Calibration,
    Input,
    Manifest,
    ReferenceFeatures,
    Runtime,
    Serving,
    weights_sha256,
    write_artifact,
)
from app.host.files import folder_aside
from app.host.machine import peak_memory
from app.inference.temperature import apply_temperature
from app.networks import get_network
from app.schemas.job import StopReason
from app.training.device import library_versions
from app.training.evidence import Evidence, calibrate, decide_by
from app.training.export import has_feature_maps, read_classifier, save_model, set_temperature
from app.training.fit import read_values
from app.training.logs import TEST_LOG
from app.training.result import Best, TrainingResult
from app.training.verify import ReplayProcess, compare_answers
from app.training.work import Work

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Trained:
    """How a training went. ``is_exact``: whether every resume continued bit by bit."""

    best: Best
    stop_reason: StopReason
    epochs_run: int
    is_exact: bool


def package(
    work: Work, trained: Trained, model: keras.Model, expected: Array, evidence: Evidence
) -> TrainingResult:
    """Calibrates ``model``, writes its artifact with what it may promise, replays the final test through it.

    ``expected``: the trained network's probabilities, float32 (tested items, classes), not calibrated.
    Whether the result is good enough is decided elsewhere: a model that is not can still be looked at.
    Raises ParityError, and Released when asked to leave.
    """
    calibration = calibrate(evidence)
    with folder_aside(work.spec.out) as aside, ReplayProcess(work.folder / "verification") as process:
        described = _export(work, trained, model, evidence, calibration, aside)
        work.leave_if_asked()
        # In NumPy, not by the model that is packaged: so the replay also proves that this was done right.
        calibrated = apply_temperature(expected, calibration.temperature)
        return _verify(work, trained, aside, described, calibrated, process)


def _export(
    work: Work,
    trained: Trained,
    model: keras.Model,
    evidence: Evidence,
    calibration: Calibration,
    folder: Path,
) -> Manifest:
    """Writes the artifact, with a manifest that lacks what has to be measured on it."""
    work.reporter.stage("exporting")
    files = [folder / KERAS_MODEL, folder / LITERT_MODEL, folder / REFERENCES]
    outputs = save_model(set_temperature(model, calibration.temperature), *files[:2])
    work.leave_if_asked()
    decision, references = decide_by(evidence, calibration.temperature, files[1].read_bytes(), outputs)
    np.save(files[2], references)
    if has_feature_maps(outputs):
        files.append(folder / CLASSIFIER)
        np.save(files[-1], read_classifier(model).astype(np.float16))
    settings = work.settings
    manifest = Manifest(
        network=get_network(work.spec.network).name,
        image_size=work.spec.image_size,
        labels=work.manifest.classes,
        resize_rule=work.spec.resize_rule.name,
        dataset_digest=work.dataset_digest,
        split_digest=work.identity.split,
        hyperparameters=settings.model_dump(mode="json"),
        seed=settings.seed,
        best_epoch=trained.best.epoch,
        metrics={},
        weights_sha256=weights_sha256(read_values(model.weights)),
        serving=Serving(runtime="litert", precision="float32", bytes=files[1].stat().st_size),
        input=Input(resize_rule=work.spec.resize_rule.name, pixel_range=work.manifest.pixel_range),
        runtimes=(Runtime("litert", "float32", LITERT_MODEL),),
        class_map=work.spec.class_map.model_dump(mode="json") if work.spec.class_map else None,
        outputs=outputs,
        calibration=calibration,
        decision=decision,
        reference_features=ReferenceFeatures(
            REFERENCES, len(references), references.shape[1], str(references.dtype)
        ),
        versions=library_versions(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    )
    return write_artifact(folder, manifest, files).manifest


def _verify(
    work: Work, trained: Trained, aside: Path, described: Manifest, expected: Array, process: ReplayProcess
) -> TrainingResult:
    """Replays the final test through the artifact, and adds what it measured."""
    work.reporter.stage("verifying")
    spec = work.spec
    replay = process.replay_final_test(aside, spec, work.reporter, work.stop)
    items = [item.id for item in work.tested_items]
    parity = compare_answers(replay, items, work.manifest.classes, expected)
    shutil.copyfile(replay.folder / TEST_LOG, spec.logs / TEST_LOG)
    measured = replace(
        described.with_parity(parity.model_dump()),
        metrics=asdict(replay.evaluation.metrics),
        evaluation_dataset_digest=replay.evaluation.dataset_digest if spec.evaluation_dataset else None,
    )
    measured = replace(measured, serving=replace(measured.serving, milliseconds=replay.milliseconds))
    # The manifest changes, and with it the digest; the files that were replayed stay as they are.
    artifact = write_artifact(aside, measured, [aside / name for name in described.files])
    return TrainingResult(
        artifact=spec.out,
        weights_sha256=described.weights_sha256,
        best=trained.best,
        stop_reason=trained.stop_reason,
        evaluation=replay.evaluation.model_copy(update={"artifact_digest": artifact.digest}),
        verification=replay.folder,
        parity=parity,
        epochs_run=trained.epochs_run,
        is_exact=trained.is_exact,
        peak_memory_bytes=peak_memory(),
    )
