"""Examinations of datasets: what was found, and new ones."""

from __future__ import annotations

from app.context import AppContext
from app.datasets.findings import read_findings
from app.errors import ConflictError
from app.host.files import make_folder
from app.models import Job
from app.models.base import new_id
from app.schemas import examination as schemas
from app.schemas.job_kinds import EXAMINATION
from app.services.dataset_states import hold_dataset
from app.services.datasets import require_dataset, require_ready
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.job_states import queue_job
from app.services.jobs import to_schema
from app.storage.extractor import download_vectors


def get_findings(context: AppContext, dataset_id: str) -> schemas.ExaminationFindings:
    """Raises ConflictError while nothing has looked at the images."""
    with context.db.read() as session:
        examination = require_ready(require_dataset(session, dataset_id)).examination
    download_vectors(context.storage, dataset_id)
    findings = read_findings(context.storage.dataset(dataset_id))
    if examination is None or findings is None:
        raise ConflictError(
            f"The images of dataset {dataset_id} are not examined yet.",
            hint=f"`loupe dataset examine {dataset_id}`, or `POST /datasets/{dataset_id}/examinations`.",
        )
    return schemas.ExaminationFindings(
        dataset=dataset_id,
        network=examination["network"],
        judged=findings.judged,
        suspects=[schemas.SuspectLabel(**each.model_dump()) for each in findings.suspects],
        outliers=[schemas.OutlierImage(**each.model_dump()) for each in findings.outliers],
    )


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
