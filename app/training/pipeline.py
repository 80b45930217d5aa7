"""One training run by gradient descent, stage by stage: prepare, train, evaluate; then it is packaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from app.artifacts import Output
from app.child import Released, Reporter, StopSignal
from app.datasets.manifest import DatasetManifest
from app.datasets.tfrecord import RecordReader, ensure_records
from app.errors import OutOfMemoryError
from app.host import failpoints
from app.networks.create import create_network
from app.schemas.progress_lines import PlanLine, ProgressLine, RungLine
from app.training.checkpoints import CheckpointStore
from app.training.evidence import Evidence, choose_judged, choose_references, embed_subset, label_wholes
from app.training.export import build_inference_model, predict_subsets
from app.training.fit import Fit
from app.training.logs import TrainingLogs
from app.training.packaging import Trained, package
from app.training.replicas import Replicas
from app.training.result import Best, TrainingResult
from app.training.resume import resume
from app.training.spec import TrainingSpec
from app.training.subsets import Subset, TrainingSubset, weigh_classes
from app.training.work import Work, open_work, throttle

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Run:
    """What the stages share. ``reader``: the records of the dataset; ``tested``: those of the final test."""

    work: Work
    reader: RecordReader
    tested: Subset

    def subset(self, name: str) -> Subset:
        return Subset(self.reader, np.array(self.work.split[name]))


def run_training(spec: TrainingSpec, folder: Path, reporter: Reporter, stop: StopSignal) -> TrainingResult:
    """Trains, proves and packages one model.

    Raises Released after a checkpoint when asked to leave, and the errors of app.errors with their hints.
    """
    with naming_lack_of_memory(spec):
        run = prepare(open_work(spec, folder, reporter, stop))
        fit = train(run)
        run.work.leave_if_asked()
        _leave_or_end_early(run, fit)
        model, expected, evidence = _evaluate(run, fit)
        run.work.leave_if_asked()
        return package(run.work, _describe(fit), model, expected, evidence)


def prepare(work: Work) -> Run:
    """Writes the records of what is trained and tested on, where they are not there. Raises Released."""
    spec = work.spec

    def report(done: int, total: int) -> None:
        work.leave_if_asked()
        throttled(done, total)

    throttled = throttle(lambda done, total: work.reporter.emit(ProgressLine(done=done, total=total)))
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

    reader = read(work.manifest)
    if work.tested is None:
        return Run(work, reader, Subset(reader, np.array(work.split["test"])))
    # The model reads grey by its own range, whatever the other dataset's is. Written before the training, so
    # that an image that is missing costs no hours.
    other = read(replace(work.tested, pixel_range=work.manifest.pixel_range))
    return Run(work, reader, Subset(other, np.arange(len(other))))


def train(run: Run) -> Fit:
    """The network, trained until a reason to stop. Raises Released after a checkpoint, NotFiniteError."""
    work = run.work
    spec, settings, reporter = work.spec, work.settings, work.reporter
    reporter.stage("training")
    # Imports may draw from the global generator: create_network comes from its own module, imported by now.
    keras.utils.set_random_seed(settings.seed)
    learned = TrainingSubset(run.reader, np.array(work.split["train"]))
    replicas = Replicas(work.device.replicas)
    classes = len(work.manifest.classes)
    with replicas.scope():
        model = create_network(spec.network, spec.image_size, classes, dropout=settings.dropout)
    work.initial_weights.load_into(model)
    fit = Fit(
        model,
        settings,
        learned,
        run.subset("valid"),
        weigh_classes(settings.class_weights, learned.labels, work.manifest.classes),
        store=CheckpointStore(spec.checkpoint_root),
        checkpoint_seconds=spec.checkpoint_seconds,
        base_state={"identity": work.identity.to_json(), "environment": work.device.environment()},
        reporter=reporter,
        stop=work.stop,
        replicas=replicas,
        until_epoch=spec.until_epoch,
    )
    resume(fit, spec, work.identity, work.device, reporter)
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


def _leave_or_end_early(run: Run, fit: Fit) -> None:
    """Raises Released where others decide whether the training goes on: nothing is tested before."""
    spec = run.work.spec
    if spec.until_epoch is None:
        return
    if spec.ends_as is None:
        run.work.reporter.emit(RungLine(epoch=len(fit.position.epochs), stop_reason=fit.position.stop_reason))
        raise Released
    fit.position.stop_reason = fit.position.stop_reason or spec.ends_as


def _evaluate(run: Run, fit: Fit) -> tuple[keras.Model, Array, Evidence]:
    """The best epoch's network, its probabilities for the records to test on, and what judges it."""
    work = run.work
    work.reporter.stage("evaluating")
    assert fit.best_weights is not None
    classes = len(work.manifest.classes)
    model = build_inference_model(work.spec.network, work.spec.image_size, classes, fit.best_weights)
    alive = work.reporter.alive
    positions = choose_judged(work)
    judged = Subset(run.reader, np.array(positions))
    references = Subset(run.reader, np.array(choose_references(work)))
    labels, wholes = label_wholes(work, positions)
    answered = predict_subsets(model, [run.tested, judged], alive)

    def embed(litert: bytes, outputs: tuple[Output, ...]) -> tuple[Array, Array]:
        found = [embed_subset(subset, litert, outputs, alive) for subset in (judged, references)]
        return found[0], found[1]

    tried = len(fit.position.epochs) + work.spec.tried_elsewhere
    return model, answered[0], Evidence(labels, wholes, answered[1], embed, tried=tried)


def _describe(fit: Fit) -> Trained:
    assert fit.best.epoch is not None
    assert fit.best.value is not None
    assert fit.position.stop_reason is not None
    return Trained(
        best=Best(epoch=fit.best.epoch, metric=fit.best.monitor, value=fit.best.value),
        stop_reason=fit.position.stop_reason,
        epochs_run=len(fit.position.epochs),
        is_exact=fit.is_exact,
    )


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
