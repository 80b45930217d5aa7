"""Exports of models: a worker makes a file of a model, which is kept and sent from then on."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.errors import ConflictError
from app.host.files import make_folder
from app.models import Job, TrainedModel
from app.models.base import new_id
from app.schemas.job_payloads import ModelExportPayload
from app.schemas.model import ModelExportCreate, StoredExport
from app.schemas.model_formats import MadeFormat
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.job_states import TERMINAL, queue_job
from app.services.jobs import to_schema
from app.services.trained_models import require_model


def create_model_export(
    context: AppContext,
    model_id: str,
    request: ModelExportCreate,
    idempotent: IdempotentRequest | None = None,
) -> Answer:
    """Queues the making of one form of a model, or returns the job that makes or made it."""
    with context.db.write() as session:
        if (before := recall(session, idempotent)) is not None:
            return before
        require_model(session, model_id)
        # Held, so that of two requests at once the second finds the job of the first.
        model = session.get(TrainedModel, model_id, with_for_update=True, populate_existing=True)
        if model is None:
            require_model(session, model_id)
            raise AssertionError
        job = _find_job(session, model, request.format)
        if is_new := job is None:
            job = Job(
                id=new_id("job"),
                kind="model_export",
                product_id=model.product_id,
                network=model.network,
                payload=ModelExportPayload(model=model.id, format=request.format).model_dump(
                    mode="json", exclude_defaults=True
                ),
            )
            queue_job(session, job)
            make_folder(context.storage.job(job.id))
        answer = Answer(to_schema(session, job).model_dump(mode="json"), f"/jobs/{job.id}")
        remember(session, idempotent, 202, answer)
    if is_new:
        context.queue.enqueue(job.id, job.kind)
    return answer


def find_export(context: AppContext, model: TrainedModel, wanted: MadeFormat) -> tuple[Path, StoredExport]:
    """Where the made file lies here. Raises ConflictError while nobody has made it."""
    stored = (model.exports or {}).get(wanted)
    if stored is None:
        with context.db.read() as session:
            job = _find_job(session, model, wanted)
        raise ConflictError(
            f"Model {model.id} has no {wanted} file"
            + (f" yet: job {job.id}, which makes it, is {job.status}." if job else "."),
            hint="Wait for the job's end."
            if job
            else f'Have a worker make it: `POST /models/{model.id}/exports` with {{"format": "{wanted}"}}.',
        )
    export = StoredExport.model_validate(stored)
    folder = context.storage.absolute(export.folder)
    return context.storage.remote.download(folder) / export.file, export


def _find_job(session: Session, model: TrainedModel, wanted: MadeFormat) -> Job | None:
    """The newest job that makes this file, or made the one that is there."""
    jobs = session.scalars(
        select(Job)
        .where(
            Job.product_id == model.product_id,
            Job.kind == "model_export",
            Job.payload["model"].as_string() == model.id,
            Job.payload["format"].as_string() == wanted,
        )
        .order_by(Job.id.desc())
    )
    made_by = (model.exports or {}).get(wanted, {}).get("job")
    return next((job for job in jobs if job.status not in TERMINAL or job.id == made_by), None)
