"""Examinations of datasets that were imported without."""

from __future__ import annotations

from app.context import AppContext
from app.host.files import make_folder
from app.models import Job
from app.models.base import new_id
from app.schemas.job_kinds import EXAMINATION
from app.services.dataset_states import hold_dataset
from app.services.datasets import require_ready
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.job_states import queue_job
from app.services.jobs import to_schema


def create_examination(
    context: AppContext, dataset_id: str, idempotent: IdempotentRequest | None = None
) -> Answer:
    """Queues an examination; what is there already and sound is not computed again."""
    with context.db.write() as session:
        if (before := recall(session, idempotent)) is not None:
            return before
        dataset = require_ready(hold_dataset(session, dataset_id))
        job = Job(
            id=new_id("job"),
            kind=EXAMINATION,
            product_id=dataset.product_id,
            dataset_id=dataset_id,
            payload={},
        )
        queue_job(session, job)
        make_folder(context.storage.job(job.id))
        answer = Answer(to_schema(session, job).model_dump(mode="json"), f"/jobs/{job.id}")
        remember(session, idempotent, 202, answer)
    context.queue.enqueue(job.id, job.kind)
    return answer
