"""Exports: a dataset as a file for the outside."""

from __future__ import annotations

from app.context import AppContext
from app.datasets.spec import ExportResult, ExportSpec
from app.jobs.claims import Claim, complete, hold_to_finish, read_claimed
from app.jobs.kinds.base import Kind
from app.schemas.job_payloads import ExportPayload


class DatasetExport(Kind[ExportSpec, ExportResult]):
    name = "export"
    module = "app.datasets"
    result_type = ExportResult

    def download_inputs(self, context: AppContext, claim: Claim) -> None:
        job, storage = read_claimed(context, claim), context.storage
        storage.remote.download_pictures(job.dataset)
        if trained := ExportPayload.model_validate(job.payload).job:
            storage.remote.download(storage.job_split(trained))

    def build_spec(self, context: AppContext, claim: Claim) -> ExportSpec:
        job, storage = read_claimed(context, claim), context.storage
        payload = ExportPayload.model_validate(job.payload)
        return ExportSpec(
            dataset=storage.dataset(job.dataset),
            image_root=storage.images,
            format=payload.format,
            image_size=payload.image_size,
            compression=payload.compression,
            split=storage.job_split(payload.job) if payload.job else None,
            draw=payload.split,
            out=storage.job_export(job.id),
        )

    def upload_results(self, context: AppContext, claim: Claim, result: ExportResult) -> None:
        context.storage.remote.upload(context.storage.job_export(claim.job_id))

    def finish(self, context: AppContext, claim: Claim, result: ExportResult) -> None:
        """The export's file lies in the job's folder."""
        with context.db.write() as session:
            if (job := hold_to_finish(session, claim)) is not None:
                job.result = result.model_dump(mode="json")
                complete(session, job)
