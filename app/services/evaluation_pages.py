"""The page of an evaluation: gathered here, made in a process of its own, kept for the next request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import __version__
from app.artifacts.manifest import MANIFEST, Manifest
from app.context import AppContext
from app.datasets.manifest import DatasetManifest, Item
from app.errors import ArtifactError, DatasetError, LoupeError
from app.evaluation.analysis.files import open_answers, read_answers
from app.evaluation.page.policy import FORM
from app.evaluation.page.spec import (
    PAGE,
    Epoch,
    Example,
    Fact,
    Facts,
    Finding,
    PageResult,
    PageSpec,
    Training,
)
from app.evaluation.page.words import seconds, shown, size
from app.host.files import make_folder, move
from app.models import Dataset, Evaluation, Job, JobEpoch, TrainedModel
from app.schemas.finding import Finding as JobFinding
from app.schemas.job_kinds import MODEL_MAKERS
from app.services import job_records
from app.services.dataset_manifests import manifest_of
from app.services.datasets import get_report
from app.services.evaluation_analyses import analysis_folder, classes_of, ensure_analysis
from app.services.evaluations import require_evaluation, to_schema
from app.services.examinations import require_report
from app.services.limited_child import MEMORY_BYTES, run_limited, taking_turn
from app.services.training_findings import get_findings

FORMAT_VERSION = 3
"""Of what is gathered for a page: one of another version is made anew."""
MISTAKES, DOUBTFUL = 24, 12
"""Images in a page: with them, and the maps of the mistakes, it stays under 2 MB."""
MOST_FINDINGS = 20
LEVELS = ("error", "warning", "note")
LONGEST_TEXT = 500
LEARNING_RATES = 400


def get_page(context: AppContext, job_id: str, dataset_id: str | None = None) -> Path:
    """The HTML file. Raises BusyError, AnalysisError, StorageDamagedError."""
    with context.db.read() as session:
        evaluation = require_evaluation(session, job_id, dataset_id)
        dataset = session.get_one(Dataset, evaluation.dataset_id)
        is_training = session.get_one(Job, job_id).kind in MODEL_MAKERS
    found = get_findings(context, job_id).data if is_training else []
    target = analysis_folder(context, evaluation) / f"report-{_key(evaluation, dataset, found)}.html"
    if not target.exists():
        analysis = ensure_analysis(context, evaluation)
        spec = _gather(context, evaluation, dataset, analysis, found)
        with taking_turn():
            if not target.exists():
                _make(context, spec, target)
    return target


def _key(evaluation: Evaluation, dataset: Dataset, found: Sequence[JobFinding]) -> str:
    """Another one whenever the page would be another."""
    made_by = [FORMAT_VERSION, __version__, FORM, evaluation.id, dataset.examination]
    made_by += [each.model_dump(mode="json") for each in found]
    return hashlib.sha256(json.dumps(made_by, sort_keys=True).encode()).hexdigest()[:16]


def _make(context: AppContext, spec: PageSpec, target: Path) -> None:
    storage = context.storage
    for example in (*spec.mistakes, *spec.doubtful):
        if example.image is not None:
            _download(context, spec.evaluation.dataset, example.image)
    with storage.scratch_folder("page") as folder:
        run_limited(context, "app.evaluation.page", spec, PageResult, folder)
        make_folder(target.parent)
        move(folder / PAGE, target)
    for old in target.parent.glob("report-*.html"):
        if old != target:
            storage.remove(old)


def _download(context: AppContext, dataset_id: str, item: Item) -> None:
    try:
        context.storage.remote.download_picture(dataset_id, item.sha256)
    except LoupeError as error:
        # The page says in its place that it is missing; storage that is away is another matter.
        if error.retryable:
            raise


def _gather(
    context: AppContext,
    evaluation: Evaluation,
    dataset: Dataset,
    analysis: Path,
    found: Sequence[JobFinding],
) -> PageSpec:
    manifest = _manifest(context, dataset)
    items = {item.id: item for item in manifest.items} if manifest is not None else {}
    rows = open_answers(analysis)
    is_right = rows["true"] == rows["predicted"]
    mistakes = np.flatnonzero(~is_right)
    doubtful = np.flatnonzero(is_right)[::-1]
    with context.db.read() as session:
        job = session.get_one(Job, evaluation.job_id)
        model = session.scalar(select(TrainedModel).where(TrainedModel.job_id == job.id))
        epochs = session.scalars(
            select(JobEpoch).where(JobEpoch.job_id == job.id).order_by(JobEpoch.epoch)
        ).all()
        trained_on = _trained_on(session, job, dataset)

    def examples(chosen: NDArray[np.intp]) -> tuple[Example, ...]:
        classes = classes_of(evaluation)
        return tuple(
            Example(
                item=answer.item,
                name=answer.name,
                true=classes[answer.true],
                predicted=classes[answer.predicted],
                probability=answer.probability,
                of_true=answer.of_true,
                image=items.get(answer.item),
            )
            for answer in read_answers(analysis, rows[chosen])
        )

    findings, is_examined = _findings(context, dataset)
    artifact = _download_artifact(context, model)
    return PageSpec(
        product=job.product_id,
        model=f"model {model.version}" if model is not None else f"job {job.id}",
        evaluation=to_schema(evaluation),
        analysis=analysis,
        images=context.storage.images,
        pixel_range=manifest.pixel_range if manifest is not None else None,
        memory_bytes=MEMORY_BYTES,
        mistakes=examples(mistakes[:MISTAKES]),
        total_mistakes=len(mistakes),
        doubtful=examples(doubtful[:DOUBTFUL]),
        artifact=artifact,
        artifact_digest=model.digest if model is not None else None,
        training=_training(context, job.id, epochs),
        is_examined=is_examined,
        findings=findings,
        training_findings=_of_training(found),
        facts=(
            _about_data(dataset, trained_on, job, evaluation),
            _about_model(job, model),
            _settings(job),
            _versions(artifact),
            _cost(job, model, epochs),
        ),
    )


def _manifest(context: AppContext, dataset: Dataset) -> DatasetManifest | None:
    try:
        return manifest_of(context.storage, dataset)
    except DatasetError:
        return None


def _trained_on(session: Session, job: Job, tested: Dataset) -> Dataset | None:
    """The dataset of the training where it is another than that of the evaluation."""
    if job.dataset_id in (None, tested.id):
        return None
    return session.get(Dataset, job.dataset_id)


def _training(context: AppContext, job_id: str, epochs: Sequence[JobEpoch]) -> Training | None:
    if not epochs:
        return None
    steps = job_records.get_metrics(context, job_id, max_points=LEARNING_RATES).steps
    return Training(
        epochs=tuple(
            Epoch(
                epoch=row.epoch,
                step=row.step,
                train_loss=row.train_loss,
                train_accuracy=row.train_accuracy,
                valid_loss=row.valid_loss,
                valid_accuracy=row.valid_accuracy,
                is_best=row.is_best,
            )
            for row in epochs
        ),
        learning_rates=tuple((step.step, step.learning_rate) for step in steps),
    )


def _findings(context: AppContext, dataset: Dataset) -> tuple[tuple[Finding, ...], bool]:
    """What is known to be wrong with the dataset, and whether its images were examined."""
    findings: list[Finding] = []
    is_examined = dataset.examination is not None
    try:
        if is_examined:
            findings += [
                Finding(level=each.level, text=_cut(each.finding), advice=_cut(each.advice))
                for each in require_report(context, dataset.id).diagnoses
            ]
        report = get_report(context, dataset.id)
    except LoupeError as error:
        if error.retryable:
            raise
        return tuple(findings[:MOST_FINDINGS]), False
    findings += [Finding(level="warning", text=_cut(advice)) for advice in report.advice]
    findings.sort(key=lambda finding: LEVELS.index(finding.level))
    return tuple(findings[:MOST_FINDINGS]), is_examined


def _of_training(found: Sequence[JobFinding]) -> tuple[Finding, ...]:
    """Without those of the dataset, which have a section of their own."""
    return tuple(
        Finding(
            level=each.level,
            text=_cut(each.finding),
            advice=_cut(each.advice),
            evidence=_cut(each.evidence),
            command=each.command and _cut(each.command),
        )
        for each in found
        if each.dataset is None or each.code == "different_test"
    )


def _about_data(dataset: Dataset, trained_on: Dataset | None, job: Job, evaluation: Evaluation) -> Facts:
    facts = {
        "dataset": dataset.id,
        "images": _number(dataset.items),
        "classes": _number(len(dataset.classes or [])),
        "left out at import": _number(dataset.skipped),
        "digest": (dataset.digest or "")[:16],
        "measured on": f"{evaluation.report['subset']}, {evaluation.report['items']:,} images",
    }
    if trained_on is not None:
        facts |= {"trained on dataset": trained_on.id, "its images": _number(trained_on.items)}
    split = job.split or {}
    counts = split.get("counts") or {}
    facts |= {f"images in {name}": _number(counts.get(name)) for name in ("train", "valid", "test") if counts}
    facts |= {f"split: {name}": _plain(value) for name, value in split.items() if name != "counts"}
    return _facts("Dataset and split", facts)


def _about_model(job: Job, model: TrainedModel | None) -> Facts:
    facts = {"product": job.product_id, "job": job.id, "network": job.network or "–"}
    if model is not None:
        facts |= {
            "model": model.id,
            "version": str(model.version),
            "classes": _number(len(model.labels)),
            "served by": f"{model.serving.get('runtime', '–')}, {model.serving.get('precision', '–')}",
            "digest": model.digest[:16],
            "created": f"{model.created_at:%Y-%m-%d %H:%M} UTC",
        }
        if model.origin is not None:
            facts["imported from"] = f"{model.origin.get('product', '')}, {model.origin.get('model', '')}"
    if job.best is not None:
        facts["best epoch"] = (
            f"{job.best.get('epoch')} ({job.best.get('metric')} {job.best.get('value'):.4f})"
        )
    return _facts("Model", facts)


def _settings(job: Job) -> Facts:
    settings = job.hyperparameters or {}
    return _facts("Settings of the training", {name: _plain(value) for name, value in settings.items()})


def _download_artifact(context: AppContext, model: TrainedModel | None) -> Path | None:
    """The model's folder, unless it is gone."""
    if model is None:
        return None
    folder = context.storage.absolute(model.folder)
    context.storage.remote.download(folder)
    return folder if (folder / MANIFEST).exists() else None


def _versions(artifact: Path | None) -> Facts:
    """Of the libraries that trained the model, as its artifact says; without it nobody knows."""
    if artifact is None:
        return _facts("Versions", {"Loupe, now": __version__, "versions": "the artifact is gone"})
    try:
        versions = Manifest.from_json((artifact / MANIFEST).read_bytes()).versions
    except (OSError, ArtifactError):
        versions = {}
    return _facts("Versions that trained it", dict(versions) or {"versions": "the artifact is gone"})


def _cost(job: Job, model: TrainedModel | None, epochs: Sequence[JobEpoch]) -> Facts:
    facts: dict[str, str] = {}
    if job.started_at is not None and job.finished_at is not None:
        facts["training, all of it"] = seconds((job.finished_at - job.started_at).total_seconds())
    if epochs:
        facts["its epochs"] = f"{len(epochs)}, {seconds(sum(row.seconds for row in epochs))}"
    if (speed := (job.progress or {}).get("images_per_second")) is not None:
        facts["images per second"] = f"{speed:.1f}"
    if job.ran_on is not None:
        facts["trained on"] = f"{job.ran_on.get('device')}: {', '.join(job.ran_on.get('names', []))}"
    if model is not None:
        facts["model on disk"] = size(model.bytes)
        if (served := model.serving.get("bytes")) is not None:
            facts["what is served of it"] = size(served)
    return _facts("Time and memory", facts)


def _facts(heading: str, values: Mapping[str, str]) -> Facts:
    return Facts(
        heading=heading,
        facts=tuple(Fact(name=shown(name), value=_cut(value) or "–") for name, value in values.items()),
    )


def _plain(value: Any) -> str:
    """A setting as it is written on the command line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def _number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def _cut(text: str) -> str:
    return shown(text, LONGEST_TEXT)
