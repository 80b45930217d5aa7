"""Training of the classifier alone, on the features of frozen weights: seconds instead of minutes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import keras
import numpy as np
from numpy.typing import NDArray

from app.child import Released, Reporter, StopSignal
from app.datasets.wholes import find_wholes
from app.errors import TrainingError
from app.features.probe import Probe, fit_probe
from app.networks.pretrained.transplant import HEAD
from app.schemas.progress_lines import EpochLine, PlanLine, RungLine, Scores
from app.training.evidence import Evidence, choose_judged, choose_references, label_wholes
from app.training.export import create_inference_model
from app.training.frozen_features import open_features
from app.training.logs import TrainingLogs
from app.training.packaging import Trained, package
from app.training.pipeline import naming_lack_of_memory
from app.training.result import Best, TrainingResult
from app.training.selection import BestEpoch
from app.training.spec import TrainingSpec
from app.training.subsets import weigh_classes
from app.training.work import Work, open_work

Result = TypeVar("Result")
Features = NDArray[np.float32]
Labels = NDArray[np.int64]


def run_linear(spec: TrainingSpec, folder: Path, reporter: Reporter, stop: StopSignal) -> TrainingResult:
    """Fits, proves and packages one model; the same steps, files and figures as of any training.

    Nothing is checkpointed: a run that is cut off begins again. Raises Released when asked to leave, and the
    errors of app.errors with their hints.
    """
    with naming_lack_of_memory(spec):
        work = open_work(spec, folder, reporter, stop)
        # The imports of this module may draw from the global generator, so it is seeded after them.
        keras.utils.set_random_seed(work.settings.seed)
        model = create_inference_model(spec.network, spec.image_size, len(work.manifest.classes))
        work.initial_weights.load_into(model)
        features = open_features(work, model)
        trained, probe, seen = _train(work, features)
        if spec.until_epoch is not None and spec.ends_as is None:
            # Others decide whether it goes on; then it is fitted again, to the same classifier.
            reporter.emit(RungLine(epoch=1, stop_reason="completed"))
            raise Released
        _set_classifier(model, probe)
        reporter.stage("evaluating")
        expected = probe.predict(features(work.tested_items, is_exact=True))
        work.leave_if_asked()
        return package(work, trained, model, expected, _gather_evidence(work, probe, seen))


def _gather_evidence(work: Work, probe: Probe, seen: dict[str, Features]) -> Evidence:
    """``seen``: the features of train and valid. None of these images is looked at again."""

    def rows(name: str, positions: list[int]) -> Features:
        row_of = {position: row for row, position in enumerate(work.split[name])}
        return seen[name][[row_of[position] for position in positions]]

    positions = choose_judged(work)
    judged, references = rows("valid", positions), rows("train", choose_references(work))
    labels, wholes = label_wholes(work, positions)
    return Evidence(
        labels,
        wholes,
        probe.predict(judged),
        lambda *_: (judged, references),
        tried=1 + work.spec.tried_elsewhere,
    )


def _train(work: Work, features: Callable[..., Features]) -> tuple[Trained, Probe, dict[str, Features]]:
    reporter, settings = work.reporter, work.settings
    began = time.monotonic()
    reporter.stage("training")
    reporter.emit(PlanLine(epochs=1, steps_per_epoch=1, steps=1, step=0))
    items = {
        name: [work.manifest.items[position] for position in work.split[name]] for name in ("train", "valid")
    }
    index = {name: number for number, name in enumerate(work.manifest.classes)}
    labels = {name: np.array([index[item.label] for item in members]) for name, members in items.items()}
    seen = {name: features(members) for name, members in items.items()}
    weights = weigh_classes(settings.class_weights, labels["train"], work.manifest.classes)
    groups = find_wholes(items["train"])
    probe = _while_alive(
        work,
        lambda: fit_probe(seen["train"], labels["train"], groups, weights, seed=settings.seed),
    )
    scores = {name: _score(probe, seen[name], labels[name]) for name in items}
    best = BestEpoch(settings.monitor)
    best.offer(1, accuracy=scores["valid"].accuracy, loss=scores["valid"].loss)
    line = EpochLine(
        epoch=1,
        step=1,
        train=scores["train"],
        valid=scores["valid"],
        best=True,
        seconds=time.monotonic() - began,
        learning_rate=0.0,
    )
    reporter.emit(line)
    logs = TrainingLogs(work.spec.logs, epochs=1, steps_per_epoch=1)
    logs.add_epoch(line.model_dump())
    logs.close()
    assert best.value is not None
    trained = Trained(Best(epoch=1, metric=best.monitor, value=best.value), "completed", 1, is_exact=True)
    return trained, probe, seen


def _while_alive(work: Work, function: Callable[[], Result]) -> Result:
    """The result of long work that has no lines of its own. Raises Released, and what the work raises."""
    outcome: list[Result | BaseException] = []

    def run() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # raised again by the one who waits
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
        work.reporter.alive()
        work.leave_if_asked()
    [result] = outcome
    if isinstance(result, BaseException):
        raise result
    return result


def _score(probe: Probe, features: Features, labels: Labels) -> Scores:
    probabilities = probe.predict(features)
    likelihoods = np.maximum(probabilities[np.arange(len(labels)), labels], np.finfo(np.float32).tiny)
    return Scores(
        loss=float(-np.log(likelihoods).mean()),
        accuracy=float((probabilities.argmax(axis=1) == labels).mean()),
    )


def _set_classifier(model: keras.Model, probe: Probe) -> None:
    kernel, bias = model.get_layer(HEAD).weights
    if tuple(kernel.shape) != probe.kernel.shape:
        raise TrainingError(f"The classifier of {model.name} has the shape {tuple(kernel.shape)}.")
    kernel.assign(probe.kernel)
    bias.assign(probe.bias)
