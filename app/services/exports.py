"""Exports: a dataset as a file for the outside."""

from __future__ import annotations

from pathlib import Path

from app.context import AppContext
from app.errors import ConflictError, FieldError, ImageSizeError, InvalidRequestError, NotFoundError
from app.host.files import make_folder
from app.models import Job
from app.models.base import new_id
from app.schemas.export import ExportCreate
from app.schemas.hyperparameters import SplitSettings
from app.schemas.job_payloads import ExportPayload
from app.services.dataset_states import hold_dataset, require_dataset, require_ready
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.job_states import TERMINAL, queue_job
from app.services.jobs import require_job, to_schema

MAX_SIDE = 2048
DEFAULT_SEED = 0


def create_export(
    context: AppContext, dataset_id: str, request: ExportCreate, idempotent: IdempotentRequest | None = None
) -> Answer:
    """Queues the writing of a tar of the dataset."""
    size = _check_size(request)
    split = _with_seed(request)
    with context.db.write() as session:
        if (before := recall(session, idempotent)) is not None:
            return before
        dataset = require_ready(hold_dataset(session, dataset_id))
        if request.job is not None:
            trained = require_job(session, request.job)
            if trained.kind != "training" or trained.dataset_id != dataset_id:
                raise InvalidRequestError(f"Job {request.job} is no training on dataset {dataset_id}.")
            if not trained.is_planned:
                raise ConflictError(
                    f"Training {request.job} has no split yet.", hint="It gets one when it starts."
                )
        job = Job(
            id=new_id("job"),
            kind="export",
            product_id=dataset.product_id,
            dataset_id=dataset_id,
            payload=ExportPayload(
                format=request.format,
                image_size=size,
                compression=request.compression,
                job=request.job,
                split=split,
            ).model_dump(mode="json", exclude_defaults=True),
        )
        queue_job(session, job)
        make_folder(context.storage.job(job.id))
        answer = Answer(to_schema(session, job).model_dump(mode="json"), f"/jobs/{job.id}")
        remember(session, idempotent, 202, answer)
    context.queue.enqueue(job.id, job.kind)
    return answer


def get_export_file(context: AppContext, dataset_id: str, job_id: str) -> Path:
    """The finished tar; raises ConflictError while it is being written."""
    with context.db.read() as session:
        require_dataset(session, dataset_id)
        job = require_job(session, job_id)
        if job.kind != "export" or job.dataset_id != dataset_id:
            raise NotFoundError(
                f"Job {job_id} is no export of dataset {dataset_id}.",
                hint=f"Make one: `loupe dataset export {dataset_id} --to FILE`.",
            )
        if job.status != "succeeded":
            raise ConflictError(
                f"The export is {job.status}.",
                hint="See the job's `error`." if job.status in TERMINAL else "Wait for the job's end.",
            )
    return context.storage.remote.download(context.storage.job_export(job_id))


def _with_seed(request: ExportCreate) -> SplitSettings | None:
    """The split to draw, with the seed that the export is repeated with."""
    split = request.split
    if split is None:
        return None
    if request.job is not None:
        raise InvalidRequestError(
            "`split` and `job` are two ways of splitting one export.",
            hint="Leave one of them out.",
            errors=(FieldError("/split", "not together with job"),),
        )
    return split if split.seed is not None else split.model_copy(update={"seed": DEFAULT_SEED})


def _check_size(request: ExportCreate) -> tuple[int, int] | None:
    if request.format == "folders":
        return None
    size = request.image_size
    if size is None:
        raise InvalidRequestError(
            "TFRecords need an image_size.", errors=(FieldError("/image_size", "missing"),)
        )
    height, width = (size, size) if isinstance(size, int) else size
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise ImageSizeError(f"image_size must lie between 1 and {MAX_SIDE} pixels.")
    return height, width
