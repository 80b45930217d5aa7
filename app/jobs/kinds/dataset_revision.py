"""New versions of datasets: one is made of the images of others."""

from __future__ import annotations

from app.context import AppContext
from app.datasets.spec import ImportResult, RevisionSpec
from app.jobs.claims import Claim, read_claimed
from app.jobs.examinations import tools_of_import
from app.jobs.kinds.base import Kind
from app.jobs.kinds.dataset_import import finish_dataset
from app.schemas.job_kinds import REVISION
from app.schemas.job_payloads import RevisionPayload
from app.storage.extractor import download_examination, download_extractor, upload_extractor


class DatasetRevision(Kind[RevisionSpec, ImportResult]):
    name = REVISION
    module = "app.datasets"
    result_type = ImportResult

    def download_inputs(self, context: AppContext, claim: Claim) -> None:
        job, storage = read_claimed(context, claim), context.storage
        for dataset in RevisionPayload.model_validate(job.payload).sources:
            storage.remote.download_pictures(dataset)
            download_examination(storage, dataset)
        storage.remote.download(storage.job_edits(job.id))
        if context.settings.examine_imports:
            download_extractor(storage)

    def build_spec(self, context: AppContext, claim: Claim) -> RevisionSpec:
        job, storage = read_claimed(context, claim), context.storage
        sources = RevisionPayload.model_validate(job.payload).sources
        return RevisionSpec(
            sources=tuple(storage.dataset(dataset) for dataset in sources),
            edits=storage.job_edits(job.id),
            image_root=storage.images,
            out=storage.dataset(job.dataset),
            tools=tools_of_import(context, job.id),
        )

    def upload_results(self, context: AppContext, claim: Claim, result: ImportResult) -> None:
        context.storage.remote.upload_dataset(read_claimed(context, claim).dataset)
        upload_extractor(context.storage)

    def finish(self, context: AppContext, claim: Claim, result: ImportResult) -> None:
        finish_dataset(context, claim, result)
