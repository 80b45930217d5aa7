"""Models that come: the zip of another Loupe's model is accepted, and a worker makes a model of it."""

from __future__ import annotations

import socket
from pathlib import Path

from app.context import AppContext
from app.host.files import make_folder, sync
from app.models import Job
from app.models.base import new_id
from app.schemas.job_payloads import ModelImportPayload
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.job_states import queue_job
from app.services.jobs import to_schema
from app.services.products import hold_product


def create_model_import(
    context: AppContext, product_id: str, upload: Path, idempotent: IdempotentRequest | None = None
) -> Answer:
    """Accepts a zip that already lies in the scratch folder; nothing in it is looked at here.

    It reaches other hosts after the answer: see ``app/services/uploads.py``.
    """
    sync(upload)
    sync(upload.parent)
    try:
        with context.db.write() as session:
            if (before := recall(session, idempotent)) is not None:
                context.storage.remove(upload)
                return before
            hold_product(session, product_id)
            payload = ModelImportPayload(
                source=context.storage.relative(upload), is_upload=True, host=socket.gethostname()
            )
            job = Job(
                id=new_id("job"),
                kind="model_import",
                product_id=product_id,
                payload=payload.model_dump(mode="json", exclude_defaults=True),
            )
            queue_job(session, job)
            make_folder(context.storage.job(job.id))
            answer = Answer(to_schema(session, job).model_dump(mode="json"), f"/jobs/{job.id}")
            remember(session, idempotent, 202, answer)
    except BaseException:
        context.storage.remove(upload)
        raise
    context.new_uploads.set()
    context.queue.enqueue(job.id, job.kind)
    return answer
