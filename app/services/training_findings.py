"""What stands out in a training: gathered here from what is recorded of it, judged by ``training_doctor``.

Nothing is stored: the findings follow from rows and files that trainings of every release leave, so old ones
have them too, and a running one has them from its first epochs on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.datasets.examination.report import Diagnosis
from app.errors import ConflictError, LoupeError
from app.models import Dataset, Evaluation, Job, JobEpoch
from app.networks.registry import get_network
from app.schemas.class_map import ClassMap
from app.schemas.common import Estimate
from app.schemas.finding import Finding, JobFindings
from app.schemas.hyperparameters import Hyperparameters, SplitSettings
from app.schemas.job_kinds import MODEL_MAKERS, get_job_kind
from app.schemas.job_payloads import TrainingPayload
from app.services.dataset_states import evaluation_dataset_of
from app.services.datasets import get_report
from app.services.examinations import require_report
from app.services.jobs import require_job
from app.services.proportions import wilson
from app.services.training_doctor.doctor import examine_training
from app.services.training_doctor.record import Epoch, FinalTest, TrainingRecord
from app.training.defaults import default_learning_rate, resolve_hyperparameters

_MIXED_UP = frozenset({"contradiction", "twins"})


def get_findings(context: AppContext, job_id: str) -> JobFindings:
    """The worst first; none of a training that has not begun. Raises NotFoundError, ConflictError."""
    with context.db.read() as session:
        job = require_job(session, job_id)
        if job.kind not in MODEL_MAKERS:
            raise ConflictError(
                f"Job {job_id} is {get_job_kind(job.kind).noun}; only trainings have findings."
            )
        dataset = session.get_one(Dataset, job.dataset)
        epochs = _read_epochs(session, job)
        tested = _read_test(session, job)
    found: list[Finding] = []
    if epochs or job.error is not None or tested is not None:
        found = examine_training(_gather(context, job, dataset, epochs, tested))
    return JobFindings(
        job=job.id, status=job.status, epochs=len(epochs), is_tested=tested is not None, data=found
    )


def _gather(
    context: AppContext, job: Job, dataset: Dataset, epochs: Sequence[Epoch], tested: FinalTest | None
) -> TrainingRecord:
    settings = job.hyperparameters or {}
    split = job.split or {}
    class_map = TrainingPayload.model_validate(job.payload).class_map
    diagnoses = _read_diagnoses(context, dataset, class_map)
    other = evaluation_dataset_of(job)
    return TrainingRecord(
        product=job.product_id,
        network=job.network or "",
        dataset=dataset.id,
        settings=settings,
        asked=_asked_settings(job.network or "", settings, (split.get("counts") or {}).get("train")),
        options=_options(split, class_map, other),
        usual_rate=default_learning_rate(str(settings.get("pretrained", "none"))),
        images=_count_images(dataset, class_map),
        counts=split.get("counts") or {},
        epochs=epochs,
        stop_reason=job.stop_reason,
        error=(job.error["code"], job.error["detail"]) if job.error else None,
        tested=tested,
        least_accuracy=float(settings.get("min_accuracy") or 0.0),
        is_divided=dataset.counts is not None,
        is_tested_elsewhere=other is not None,
        diagnoses=diagnoses,
        conflicts=0 if diagnoses is not None else _count_conflicts(context, dataset),
    )


def _read_epochs(session: Session, job: Job) -> list[Epoch]:
    rows = session.scalars(select(JobEpoch).where(JobEpoch.job_id == job.id).order_by(JobEpoch.epoch))
    return [
        Epoch(row.epoch, row.train_loss, row.train_accuracy, row.valid_loss, row.valid_accuracy)
        for row in rows
    ]


def _read_test(session: Session, job: Job) -> FinalTest | None:
    report = session.scalar(
        select(Evaluation.report)
        .where(Evaluation.job_id == job.id, Evaluation.is_final_test)
        .order_by(Evaluation.created_at.desc())
        .limit(1)
    )
    if report is None:
        return None
    accuracy, matrix = report["metrics"]["accuracy"], report["confusion_matrix"]
    is_whole = accuracy["low"] is not None and accuracy["high"] is not None
    return FinalTest(
        items=report["items"],
        accuracy=Estimate(**accuracy) if is_whole else wilson(accuracy["value"], report["items"]),
        labels=matrix["labels"],
        counts=matrix["counts"],
    )


def _read_diagnoses(
    context: AppContext, dataset: Dataset, class_map: ClassMap | None
) -> Sequence[Diagnosis] | None:
    """What the examination of the dataset found that concerns the classes that are learned; None where
    nothing looked. Raises what may go away.
    """
    if dataset.examination is None:
        return None
    try:
        found = require_report(context, dataset.id).diagnoses
    except LoupeError as error:
        if error.retryable:
            raise
        return None
    return [each for each in found if class_map is None or _is_learned(each, class_map)]


def _is_learned(diagnosis: Diagnosis, class_map: ClassMap) -> bool:
    """Whether its classes are still there; of classes that are mixed up, whether they are still two."""
    left = {class_map.apply(name) for name in diagnosis.classes} - {None}
    least = 2 if diagnosis.code in _MIXED_UP else 1
    return not diagnosis.classes or len(left) >= least


def _count_conflicts(context: AppContext, dataset: Dataset) -> int:
    """Images that lie in more than one class, as the import counted them."""
    try:
        report = get_report(context, dataset.id).model_dump()
    except LoupeError as error:
        if error.retryable:
            raise
        return 0
    return int((report.get("totals") or {}).get("conflicting_labels", 0))


def _count_images(dataset: Dataset, class_map: ClassMap | None) -> dict[str, int]:
    """Of each class that is learned."""
    counts: Counter[str] = Counter()
    for entry in dataset.classes or []:
        name = entry["name"] if class_map is None else class_map.apply(entry["name"])
        if name is not None:
            counts[name] += entry["count"]
    return dict(counts)


def _asked_settings(network: str, settings: Mapping[str, Any], train_items: int | None) -> dict[str, Any]:
    """Those that differ from what the same training has by default."""
    start = str(settings.get("pretrained", "none"))
    given = Hyperparameters(method=settings.get("method", "fine_tune"))
    try:
        usual = resolve_hyperparameters(
            given, get_network(network), pretrained=start, train_items=train_items or 1
        ).model_dump(mode="json")
    except LoupeError:  # such as a network of a newer release
        usual = {}
    asked = {
        name: value
        for name, value in settings.items()
        if name not in ("pretrained", "min_accuracy") and (name not in usual or usual[name] != value)
    }
    return asked if start == "imagenet" else {"pretrained": start, **asked}


def _options(split: Mapping[str, Any], class_map: ClassMap | None, other: str | None) -> list[str]:
    words = []
    if other is not None:
        words += ["--evaluation-dataset", other]
    for name in ("keep", "drop"):
        for one in (getattr(class_map, name, None) or ()) if class_map is not None else ():
            words += [f"--{name}", one]
    for new, old in (class_map.merge if class_map is not None else {}).items():
        words += ["--merge", f"{new}={','.join(old)}"]
    usual = SplitSettings()
    for name in ("train", "valid", "test", "ignore_groups"):
        if name in split and split[name] != getattr(usual, name):
            words += ["--set", f"split.{name}={split[name]}".replace("True", "true")]
    return words
