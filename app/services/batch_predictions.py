"""Predictions over many images, from the client's side: ask for one, see how it goes, get the results."""

from __future__ import annotations

import socket
from pathlib import Path

from sqlalchemy.orm import Session

from app.batches.files import RESULTS, SKIPPED, TABLE
from app.context import AppContext
from app.errors import ConflictError, FieldError, InvalidRequestError, NotFoundError
from app.host.files import make_folder, sync
from app.models import Job
from app.models.base import new_id
from app.schemas import batch_prediction as schemas
from app.schemas.common import problem_from_error
from app.schemas.job import Progress
from app.schemas.job_payloads import PredictionPayload
from app.schemas.prediction import PredictionModel
from app.services.dataset_states import hold_dataset, require_ready
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.job_states import TERMINAL, queue_job
from app.services.jobs import hold_model
from app.services.trained_models import ModelChoice, choose_model
from app.services.workers import require_workers_that_know

FILES = {"jsonl": RESULTS, "csv": TABLE}


def choose(context: AppContext, asked: schemas.BatchModel) -> ModelChoice:
    """The model that will answer all images, if there are workers that know such jobs.

    Asked before an archive is received. Raises ConflictError, and what ``choose_model`` raises.
    """
    choice = choose_model(context, product=asked.product, job=asked.job, model=asked.model)
    with context.db.read() as session:
        require_workers_that_know(session, "prediction")
    return choice


def predict_dataset(
    context: AppContext, asked: schemas.DatasetPrediction, idempotent: IdempotentRequest | None = None
) -> Answer:
    """Queues predictions of all images of a dataset."""
    choice = choose(context, asked)
    with context.db.write() as session:
        if (before := recall(session, idempotent)) is not None:
            return before
        dataset = require_ready(hold_dataset(session, asked.dataset))
        if dataset.product_id != choice.product:
            raise InvalidRequestError(
                f"Dataset {dataset.id} belongs to product {dataset.product_id!r}, the model to "
                f"{choice.product!r}.",
                hint="Ask a model of the dataset's product, or send its images as an archive.",
                errors=(FieldError("/dataset", "of another product"),),
            )
        payload = _describe(choice, asked.top_k, source=dataset.id, is_upload=False)
        answer = _queue(context, session, choice, payload, dataset.id)
        remember(session, idempotent, 202, answer)
    context.queue.enqueue(answer.body["id"], "prediction")
    return answer


def predict_upload(
    context: AppContext,
    asked: schemas.ArchivePrediction,
    choice: ModelChoice,
    upload: Path,
    filename: str,
    idempotent: IdempotentRequest | None = None,
) -> Answer:
    """Queues predictions of all images of an archive that lies in the scratch folder.

    It reaches other hosts after the answer: see ``app/services/uploads.py``.
    """
    sync(upload)
    sync(upload.parent)
    with context.db.write() as session:
        if (before := recall(session, idempotent)) is not None:
            context.storage.remove(upload)
            return before
        payload = _describe(
            choice,
            asked.top_k,
            source=context.storage.relative(upload),
            is_upload=True,
            filename=filename[-1024:],
            name_encoding=asked.name_encoding,
        )
        answer = _queue(context, session, choice, payload, None)
        remember(session, idempotent, 202, answer)
    context.queue.enqueue(answer.body["id"], "prediction")
    context.new_uploads.set()
    return answer


def get_batch(context: AppContext, job_id: str) -> schemas.BatchPrediction:
    with context.db.read() as session:
        return _to_schema(_require_batch(context, session, job_id))


def get_results_file(context: AppContext, job_id: str, form: str) -> tuple[Path, str]:
    """The results as ``jsonl`` or ``csv``, with their SHA-256. Raises ConflictError before the end."""
    return _get_file(context, job_id, FILES[form])


def get_skipped_file(context: AppContext, job_id: str) -> tuple[Path, str]:
    """All files that were no images, as JSON Lines, with their SHA-256. Raises ConflictError."""
    return _get_file(context, job_id, SKIPPED)


def _get_file(context: AppContext, job_id: str, name: str) -> tuple[Path, str]:
    with context.db.read() as session:
        job = _require_batch(context, session, job_id)
    if job.status != "succeeded":
        raise ConflictError(
            f"The prediction is {job.status} and has no results.",
            hint="See its `error`." if job.status in TERMINAL else f"Wait: `GET /predictions/{job_id}`.",
        )
    result = job.result or {}
    folder = context.storage.remote.download(context.storage.absolute(result["folder"]))
    return folder / name, result["files"][name]["sha256"]


def _describe(choice: ModelChoice, top_k: int, **source: object) -> PredictionPayload:
    return PredictionPayload.model_validate(
        {
            "model": choice.id,
            "version": choice.version,
            "alias": choice.alias,
            "digest": choice.digest,
            "top_k": top_k,
            "max_error": choice.max_error,
            "host": socket.gethostname(),
            **source,
        }
    )


def _queue(
    context: AppContext,
    session: Session,
    choice: ModelChoice,
    payload: PredictionPayload,
    dataset_id: str | None,
) -> Answer:
    """The model is named by the job from now on: it is not deleted before the job has ended."""
    hold_model(session, choice.id)
    job = Job(
        id=new_id("job"),
        kind="prediction",
        product_id=choice.product,
        dataset_id=dataset_id,
        payload=payload.model_dump(mode="json", exclude_defaults=True),
    )
    queue_job(session, job)
    make_folder(context.storage.job(job.id))
    return Answer(_to_schema(job).model_dump(mode="json"), f"/predictions/{job.id}")


def _require_batch(context: AppContext, session: Session, job_id: str) -> Job:
    """The job's row. A key that may not read what others do sees only what it asked for itself."""
    job = session.get(Job, job_id)
    caller = context.db.caller
    if (
        job is None
        or job.kind != "prediction"
        or ("read" not in caller.scopes and job.key_id != caller.key_id)
    ):
        raise NotFoundError(
            f"There is no prediction {job_id!r}.", hint="`GET /jobs?kind=prediction` lists them."
        )
    return job


def _to_schema(job: Job) -> schemas.BatchPrediction:
    payload = PredictionPayload.model_validate(job.payload)
    result = job.result or {}
    return schemas.BatchPrediction(
        id=job.id,
        status=job.status,
        stage=job.stage,
        product=job.product_id,
        model=PredictionModel(
            id=payload.model,
            product=job.product_id,
            version=payload.version,
            alias=payload.alias,
            digest=payload.digest,
        ),
        dataset=job.dataset_id,
        source=payload.filename,
        top_k=payload.top_k,
        progress=Progress(**job.progress),
        images=result.get("images"),
        errors=result.get("errors"),
        rejected=result.get("rejected"),
        skipped=result.get("skipped"),
        skipped_files=result.get("skipped_files", []),
        error=problem_from_error(job.error, job.id) if job.error else None,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )
