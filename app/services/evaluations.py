"""Evaluations: read the one of a job, ask for another."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.errors import ConflictError, FieldError, InvalidRequestError, NotFoundError
from app.job_queue import TASK_QUEUE
from app.models import Evaluation, Job, TrainedModel
from app.models.base import new_id
from app.schemas import evaluation as schemas
from app.schemas.job_kinds import get_job_kind
from app.schemas.job_payloads import EvaluationPayload, TrainingPayload
from app.services.dataset_states import evaluation_dataset_of, hold_dataset, require_ready, tested_dataset
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.job_states import TERMINAL, queue_job
from app.services.jobs import require_job
from app.services.jobs import to_schema as job_to_schema
from app.services.workers import require_no_first_release_worker

PREDICTIONS = "predictions.csv"


def create_evaluation(
    context: AppContext,
    job_id: str,
    request: schemas.EvaluationCreate,
    idempotent: IdempotentRequest | None = None,
) -> Answer:
    """Queues an evaluation of the job's model: its final test again, or another dataset."""
    with context.db.write() as session:
        if (before := recall(session, idempotent)) is not None:
            return before
        trained = _require_job_with_model(session, job_id)
        dataset_id = request.dataset or _dataset_of(trained)
        subset = _choose_subset(trained, dataset_id)
        dataset = require_ready(hold_dataset(session, dataset_id))
        # Shared with other readers; a model that is too old or too many is not removed meanwhile.
        model = session.scalar(
            select(TrainedModel).where(TrainedModel.job_id == job_id).with_for_update(read=True)
        )
        if model is None:
            raise ConflictError(
                f"Job {job_id} is {trained.status} and has no model to evaluate.",
                hint="See the job's `gate` and `error`."
                if trained.status in TERMINAL
                else "Wait for its end.",
            )
        if TrainingPayload.model_validate(trained.payload).class_map is not None:
            require_no_first_release_worker(session, [TASK_QUEUE], "class_map")
        if dataset.product_id != trained.product_id:
            raise InvalidRequestError(f"Dataset {dataset_id} belongs to product {dataset.product_id!r}.")
        job = Job(
            id=new_id("job"),
            kind="evaluation",
            product_id=trained.product_id,
            dataset_id=dataset_id,
            network=trained.network,
            payload=EvaluationPayload(
                job=job_id, model=model.id, subset=subset, include_trained=request.include_trained
            ).model_dump(mode="json", exclude_defaults=True),
        )
        queue_job(session, job)
        answer = Answer(job_to_schema(session, job).model_dump(mode="json"), f"/jobs/{job.id}")
        remember(session, idempotent, 202, answer)
    context.queue.enqueue(job.id, job.kind)
    return answer


def get_evaluation(context: AppContext, job_id: str, dataset_id: str | None = None) -> schemas.Evaluation:
    """The newest evaluation of a job's model, that of its final test unless a dataset is named."""
    with context.db.read() as session:
        return to_schema(require_evaluation(session, job_id, dataset_id))


def get_predictions_file(context: AppContext, job_id: str, dataset_id: str | None = None) -> Path:
    """The CSV with one row per image: item, label, and the served probability of every class."""
    with context.db.read() as session:
        evaluation = require_evaluation(session, job_id, dataset_id)
    return context.storage.remote.download(context.storage.absolute(evaluation.folder)) / PREDICTIONS


def _require_job_with_model(session: Session, job_id: str) -> Job:
    job = require_job(session, job_id)
    kind = get_job_kind(job.kind)
    if not kind.makes_model and not kind.takes_model:
        raise ConflictError(f"Job {job_id} is {kind.noun}; only trainings have evaluations.")
    return job


def _dataset_of(job: Job) -> str:
    """What a job's model was tested on at its end. Raises InvalidRequestError where that was not here."""
    if job.dataset_id is None:
        raise InvalidRequestError(
            f"The model of job {job.id} was tested on another Loupe.",
            hint=f"Name a dataset of product {job.product_id!r} to evaluate it on.",
            errors=(FieldError("/dataset", "missing"),),
        )
    return tested_dataset(job)


def _choose_subset(trained: Job, dataset_id: str) -> Literal["test", "all"]:
    """Of a training's own dataset only the test part is new to its model."""
    if dataset_id != trained.dataset_id:
        return "all"
    if evaluation_dataset_of(trained) is not None and not (trained.split or {})["counts"]["test"]:
        raise InvalidRequestError(
            f"Job {trained.id} trained on all images of dataset {dataset_id}: none is left to test on.",
            hint="Name a dataset of images that the model has not seen.",
            errors=(FieldError("/dataset", "has no test part"),),
        )
    return "test"


def require_evaluation(session: Session, job_id: str, dataset_id: str | None) -> Evaluation:
    """The newest evaluation of a job's model, that of its final test unless a dataset is named.

    Raises NotFoundError, ConflictError.
    """
    job = _require_job_with_model(session, job_id)
    found = session.scalar(
        select(Evaluation)
        .where(Evaluation.job_id == job_id, Evaluation.dataset_id == (dataset_id or _dataset_of(job)))
        .order_by(Evaluation.created_at.desc())
        .limit(1)
    )
    if found is not None:
        return found
    if dataset_id is not None:
        raise NotFoundError(
            f"Job {job_id} has not been evaluated on dataset {dataset_id}.",
            hint=f"Ask for it: `POST /jobs/{job_id}/evaluations`.",
        )
    raise ConflictError(
        f"Job {job_id} is {job.status} and has no evaluation.",
        hint="See the job's `error`." if job.status in TERMINAL else "Wait until it has succeeded.",
    )


def to_schema(evaluation: Evaluation) -> schemas.Evaluation:
    report = evaluation.report
    return schemas.Evaluation(
        id=evaluation.id,
        job=evaluation.job_id,
        model=evaluation.model_id,
        dataset=evaluation.dataset_id,
        subset=report["subset"],
        items=report["items"],
        metrics=report["metrics"],
        # An older version evaluated only on classes that the model knows.
        unknown_classes=(unknown := report.get("unknown_classes", [])),
        accuracy_of_known_classes=report["accuracy_of_known_classes"]
        if unknown
        else report["metrics"]["accuracy"],
        classes=report["classes"],
        confusion_matrix=report["confusion_matrix"],
        calibration=report.get("calibration"),
        calibration_before=report.get("calibration_before"),
        selection=report.get("selection"),
        shared_groups=report.get("shared_groups"),
        trained_items=report.get("trained_items", 0),
        mistakes=report.get("mistakes", []),
        warnings=report.get("warnings", []),
        created_at=evaluation.created_at,
    )
