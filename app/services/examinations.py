"""Examinations of datasets: what was found, and new ones."""

from __future__ import annotations

from app.context import AppContext
from app.datasets.examination.report import ExaminationReport, read_examination
from app.errors import ConflictError
from app.features.files import EXAMINATION
from app.host.files import make_folder
from app.models import Job
from app.models.base import new_id
from app.schemas import examination as schemas
from app.schemas import job_kinds
from app.services.dataset_manifests import manifest_of, read_manifest
from app.services.dataset_states import hold_dataset, require_dataset, require_ready
from app.services.examination_reports import describe_examination
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.job_states import queue_job
from app.services.jobs import to_schema


def get_report(context: AppContext, dataset_id: str) -> schemas.ExaminationReport:
    """Raises NotFoundError, and ConflictError while nothing has looked at the images."""
    with context.db.read() as session:
        dataset = require_ready(require_dataset(session, dataset_id))
    manifest = manifest_of(context.storage, dataset)
    report = require_report(context, dataset_id)
    network = (dataset.examination or {}).get("network")
    return describe_examination(dataset_id, network, manifest, report)


def require_report(context: AppContext, dataset_id: str) -> ExaminationReport:
    """What was found, of a dataset that is ready. Raises ConflictError while nothing has looked."""
    folder = context.storage.dataset(dataset_id)
    context.storage.remote.download(folder / EXAMINATION)
    report = read_examination(folder, read_manifest(context, dataset_id))
    if report is None:
        raise not_examined(dataset_id)
    return report


def not_examined(dataset_id: str) -> ConflictError:
    return ConflictError(
        f"The images of dataset {dataset_id} are not examined yet.",
        hint=f"`loupe dataset examine {dataset_id}`, or `POST /datasets/{dataset_id}/examinations`.",
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
            kind=job_kinds.EXAMINATION,
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
