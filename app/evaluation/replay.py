"""Measures a packaged model as it is served: original bytes through decoding, resizing and the predictor."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.artifacts import Manifest, open_artifact
from app.child import Reporter, StopSignal, write_message
from app.csv_cells import safe_row
from app.datasets.class_map import apply_class_map
from app.datasets.manifest import DatasetManifest, Item, load_manifest
from app.datasets.near_groups import load_dataset
from app.datasets.shared_groups import shared_with_training
from app.errors import DatasetError
from app.evaluation.answers import ask_about
from app.evaluation.figures import Calibration, Selection, SharedGroups
from app.evaluation.files import EVALUATION, PREDICTIONS, PROBABILITIES, REPORT
from app.evaluation.metrics import (
    decide,
    evaluate_predictions,
    measure_calibration,
    measure_shared_groups,
)
from app.evaluation.mistakes import list_mistakes
from app.evaluation.report import format_report
from app.evaluation.selection import measure_selection
from app.evaluation.spec import EvaluationContent, EvaluationResult, EvaluationSpec
from app.images.decode import DEEP_GREY, FULL_RANGE
from app.inference.predictor import Outcome, Predictor
from app.inference.temperature import remove_temperature
from app.schemas.class_map import ClassMap
from app.words import count

MISTAKES_KEPT = 200
_MOST_CALLS, _MEASURING_SECONDS = 20, 0.5


def evaluate_artifact(
    spec: EvaluationSpec, folder: Path, reporter: Reporter, stop: StopSignal
) -> EvaluationResult:
    """The evaluation child's work. Leaves ``FILES`` in ``folder``.

    Raises ArtifactError, DatasetError, and Released when asked to leave.
    """
    reporter.stage("evaluating")
    artifact = open_artifact(spec.artifact, digest=spec.artifact_digest)
    whole = load_dataset(spec.dataset)
    chosen = artifact.manifest.class_map
    dataset = apply_class_map(whole, None if chosen is None else ClassMap.model_validate(chosen))
    items = select_items(dataset, spec.split, spec.subset)
    trained = _find_trained(items, spec.trained)
    if trained and not spec.include_trained:
        items = _without(items, trained)
    classes = artifact.manifest.labels
    shared = _find_shared(dataset, spec)
    counted = {item.id for item in items}
    beside = [item for item in shared if item.id not in counted]
    unknown = sorted({item.label for item in (*items, *beside)} - set(classes))
    labels = _index_labels(items, [*classes, *unknown])
    predictor = Predictor(artifact)
    outcomes, clipped = ask_about(predictor, [*items, *beside], spec.image_root, reporter, stop)
    answers = np.stack([outcome.probabilities for outcome in outcomes])
    probabilities = answers[: len(items)]

    is_right = labels == decide(probabilities)

    subset = spec.subset or "all"
    evaluation = evaluate_predictions(labels, probabilities, classes, unknown)
    shared_groups = None
    if shared:
        rows = {item.id: row for row, item in enumerate((*items, *beside))}
        shared_groups = measure_shared_groups(
            _index_labels(shared, [*classes, *unknown]),
            answers[[rows[item.id] for item in shared]],
            are_counted=not beside,
        )
    names = [(item.id, item.name) for item in items]
    mistakes = list_mistakes(names, labels, probabilities, [*classes, *unknown])
    content = EvaluationContent(
        artifact_digest=artifact.digest,
        dataset_digest=whole.digest,
        subset=subset,
        **vars(evaluation),
        calibration_before=_calibration_before(artifact.manifest, is_right, probabilities),
        selection=_measure_selection(predictor, is_right, outcomes[: len(items)], spec.max_error),
        shared_groups=shared_groups,
        trained_items=len(trained),
        mistakes=tuple(mistakes[:MISTAKES_KEPT]),
        warnings=(
            *_warn_of_trained(trained, are_counted=spec.include_trained),
            *_warn_of_shared(shared_groups),
            *_warn(predictor, dataset, items, clipped),
        ),
    )
    np.save(folder / PROBABILITIES, probabilities)
    _write_predictions(folder / PREDICTIONS, items, probabilities, classes)
    report = format_report(evaluation, mistakes, subset, shared_groups, content.selection)
    (folder / REPORT).write_text(report, encoding="utf-8", errors="backslashreplace")
    write_message(folder / EVALUATION, content)
    return EvaluationResult(evaluation=content, milliseconds=_measure_milliseconds(predictor))


def _calibration_before(
    manifest: Manifest, is_right: NDArray[np.bool_], probabilities: NDArray[np.float32]
) -> Calibration | None:
    if manifest.calibration is None:
        return None
    raw = remove_temperature(probabilities, manifest.calibration.temperature)
    return measure_calibration(is_right, raw.max(axis=1))


def _measure_selection(
    predictor: Predictor, is_right: NDArray[np.bool_], outcomes: Sequence[Outcome], max_error: float
) -> Selection | None:
    decision = predictor.artifact.manifest.decision
    if decision is None:
        return None
    verdicts = [predictor.judge(outcome, max_error) for outcome in outcomes]
    return measure_selection([one for one in verdicts if one is not None], is_right, decision, max_error)


def select_items(dataset: DatasetManifest, split_path: Path | None, subset: str | None) -> list[Item]:
    """The images to replay, in the dataset's order. Raises DatasetError when there are none."""
    if subset is None:
        items = list(dataset.items)
    elif split_path is None:
        items = [item for item in dataset.items if item.split == subset]
    else:
        split: dict[str, str] = json.loads(split_path.read_text(encoding="utf-8"))
        items = [item for item in dataset.items if split.get(item.id) == subset]
    if not items:
        raise DatasetError(
            f"There are no images to evaluate in {subset or 'the dataset'}.",
            hint="Evaluate another subset, or import a dataset with images in it.",
        )
    return items


def _find_trained(items: Sequence[Item], trained: tuple[Path, Path] | None) -> list[Item]:
    """Those of ``items`` that the model trained on, by the SHA-256 of their bytes."""
    if trained is None:
        return []
    folder, split_path = trained
    split: dict[str, str] = json.loads(split_path.read_text(encoding="utf-8"))
    learned = {
        item.sha256 for item in load_manifest(folder).items if split.get(item.id) in ("train", "valid")
    }
    return [item for item in items if item.sha256 in learned]


def _without(items: Sequence[Item], trained: Sequence[Item]) -> list[Item]:
    """Raises DatasetError when nothing is left to measure."""
    left_out = {item.id for item in trained}
    left = [item for item in items if item.id not in left_out]
    if not left:
        raise DatasetError(
            f"The model trained on all {len(items):,} images of the dataset: none is left to test it on.",
            hint="Evaluate it on images that it has not seen; or count these with --include-trained "
            "(include_trained), which says nothing of new images.",
        )
    return left


def _warn_of_trained(trained: Sequence[Item], *, are_counted: bool) -> tuple[str, ...]:
    if not trained:
        return ()
    images = count(len(trained), "image is one", "images are ones")
    if are_counted:
        return (f"{images} that the model trained on. The figures contain them, and are too high.",)
    return (f"{images} that the model trained on, and left out of the figures.",)


def _find_shared(dataset: DatasetManifest, spec: EvaluationSpec) -> list[Item]:
    if spec.subset != "test" or spec.split is None:
        return []
    return shared_with_training(dataset.items, json.loads(spec.split.read_text(encoding="utf-8")))


def _warn_of_shared(shared: SharedGroups | None) -> tuple[str, ...]:
    if shared is None:
        return ()
    images = count(shared.items, "test image is of a group", "test images are of groups")
    accuracy = f"the accuracy on them alone is {shared.accuracy.value:.4f}"
    if shared.are_counted:
        return (
            f"{images} that train or valid has too, since split.ignore_groups was set: {accuracy}. The "
            "figures contain them, and may be too high for new images.",
        )
    return (f"{images} that train or valid has too, and left out of the figures: {accuracy}.",)


def _index_labels(items: Sequence[Item], classes: Sequence[str]) -> NDArray[np.int64]:
    """Labels as indices of ``classes``: the model's outputs, then what it does not know."""
    indices = {name: index for index, name in enumerate(classes)}
    return np.array([indices[item.label] for item in items])


def _measure_milliseconds(predictor: Predictor) -> float:
    """For one image on one thread: the fastest of several calls, as `loupe networks` has it.

    It is the thread's own time, which other work on this machine does not lengthen: one thread computes.
    """
    pixels = np.zeros((*predictor.fit.size, 3), np.uint8)
    fastest, began = math.inf, time.perf_counter()
    for _ in range(_MOST_CALLS):
        start = time.thread_time()
        predictor.predict(pixels)
        fastest = min(fastest, time.thread_time() - start)
        if time.perf_counter() - began > _MEASURING_SECONDS:
            break
    return round(fastest * 1000, 2)


def _warn(
    predictor: Predictor, dataset: DatasetManifest, items: Sequence[Item], clipped: int
) -> tuple[str, ...]:
    """What makes the measured numbers others than one may think."""
    warnings = []
    is_deep = any(note.startswith(DEEP_GREY) for item in items for note in item.notes)
    (low, high), (model_low, model_high) = (
        r or FULL_RANGE for r in (dataset.pixel_range, predictor.pixel_range)
    )
    if is_deep and (low, high) != (model_low, model_high):
        warnings.append(
            f"The dataset's 16-bit images are meant from {low} to {high}; they were read from {model_low} "
            f"to {model_high}, as the model reads them, so they look brighter or darker to it than its own."
        )
    if clipped:
        warnings.append(
            f"{count(clipped, 'image has', 'images have')} values beyond {model_low} to {model_high}, "
            "which were clipped."
        )
    return tuple(warnings)


def _write_predictions(
    path: Path, items: Sequence[Item], probabilities: NDArray[np.float32], classes: Sequence[str]
) -> None:
    """Nine significant digits give a float32 back to the bit."""
    with path.open("w", encoding="utf-8", newline="", errors="backslashreplace") as file:
        writer = csv.writer(file)
        writer.writerow(["item", "name", "label", "predicted", *safe_row(classes)])
        for item, row, index in zip(items, probabilities.tolist(), decide(probabilities), strict=True):
            texts = safe_row([item.id, item.name, item.label, classes[index]])
            writer.writerow([*texts, *(f"{p:.9g}" for p in row)])
