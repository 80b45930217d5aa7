"""Examinations: the images of a dataset are looked at, which was imported without."""

from __future__ import annotations

from app.context import AppContext
from app.datasets.spec import ExaminationResult, ExaminationSpec
from app.features.files import EXAMINATION_FILES
from app.jobs.claims import Claim, complete, hold_to_finish, read_claimed
from app.jobs.examinations import examination_tools
from app.jobs.kinds.base import Kind
from app.models import Dataset
from app.schemas.job_kinds import EXAMINATION
from app.storage.extractor import (
    download_examination,
    download_extractor,
    upload_examination,
    upload_extractor,
)


class ExaminationKind(Kind[ExaminationSpec, ExaminationResult]):
    name = EXAMINATION
    module = "app.datasets"
    result_type = ExaminationResult

    def download_inputs(self, context: AppContext, claim: Claim) -> None:
        dataset, storage = read_claimed(context, claim).dataset, context.storage
        storage.remote.download_pictures(dataset)
        download_examination(storage, dataset)
        download_extractor(storage)

    def build_spec(self, context: AppContext, claim: Claim) -> ExaminationSpec:
        job, storage = read_claimed(context, claim), context.storage
        return ExaminationSpec(
            dataset=storage.dataset(job.dataset),
            image_root=storage.images,
            out=storage.job_examination(job.id, claim.fence),
            tools=examination_tools(context, job.id),
        )

    def upload_results(self, context: AppContext, claim: Claim, result: ExaminationResult) -> None:
        job = read_claimed(context, claim)
        _publish(context, claim, job.dataset)
        upload_examination(context.storage, job.dataset)
        upload_extractor(context.storage)

    def finish(self, context: AppContext, claim: Claim, result: ExaminationResult) -> None:
        _publish(context, claim, read_claimed(context, claim).dataset)
        with context.db.write() as session:
            if (job := hold_to_finish(session, claim)) is None:
                return
            described = result.model_dump(mode="json")
            session.get_one(Dataset, job.dataset).examination = described["examination"]
            job.result = described
            complete(session, job)


def _publish(context: AppContext, claim: Claim, dataset_id: str) -> None:
    """Puts what was found beside the manifest, unless it is there; who reads it checks that it is whole."""
    storage = context.storage
    made = storage.job_examination(claim.job_id, claim.fence)
    for name in EXAMINATION_FILES:
        if (made / name).exists():
            storage.publish(made / name, storage.dataset(dataset_id) / name)
