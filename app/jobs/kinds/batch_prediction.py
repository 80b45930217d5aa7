"""Predictions over many images: an archive or a dataset is answered by one model, as files of results."""

from __future__ import annotations

from pathlib import Path

from app.batches.files import FINISHED
from app.batches.spec import ArchiveInput, BatchResult, BatchSpec, DatasetInput
from app.context import AppContext
from app.datasets.sources import Limits
from app.host.machine import count_cores
from app.jobs.checkpoints import count_unsaved_attempts, download_newest_checkpoint, recorded_attempts
from app.jobs.claims import Claim, complete, hold_to_finish
from app.jobs.kinds.base import Kind
from app.jobs.uploads import download_upload
from app.models import Job, TrainedModel
from app.models.base import utc_now
from app.schemas.job_payloads import PredictionPayload
from app.services.job_lifecycle import find_upload
from app.services.key_quotas import default_limits, limits_of_job
from app.services.prediction_counts import Tally, add_tallies
from app.storage.model_folders import download_model


class BatchPrediction(Kind[BatchSpec, BatchResult]):
    name = "prediction"
    module = "app.batches"
    result_type = BatchResult

    def download_inputs(self, context: AppContext, claim: Claim) -> None:
        storage = context.storage
        with context.db.read() as session:
            job = session.get_one(Job, claim.job_id)
            model = session.get_one(TrainedModel, _payload(job).model)
            attempts = recorded_attempts(storage, session, job)
        download_model(storage, storage.absolute(model.folder), model.digest)
        if job.dataset_id is not None:
            storage.remote.download_pictures(job.dataset)
        else:
            download_upload(context, claim)
        download_newest_checkpoint(storage, attempts)

    def build_spec(self, context: AppContext, claim: Claim) -> BatchSpec:
        storage, settings = context.storage, context.settings
        with context.db.read() as session:
            job = session.get_one(Job, claim.job_id)
            payload = _payload(job)
            model = session.get_one(TrainedModel, payload.model)
            limits = limits_of_job(session, job, default_limits(settings))
            return BatchSpec(
                model=model.id,
                artifact=storage.absolute(model.folder),
                artifact_digest=model.digest,
                top_k=payload.top_k,
                max_error=payload.max_error,
                source=_source(context, job, payload),
                threads=settings.inference_threads or count_cores(),
                images_per_minute=limits.predictions_per_minute,
                checkpoint_root=storage.job_checkpoints(job.id) / f"{claim.fence:04d}",
                # One that is killed again and again gets further if it saves sooner each time.
                checkpoint_seconds=settings.checkpoint_seconds
                / 4 ** min(3, count_unsaved_attempts(session, job)),
                resume_from=tuple(root for root in recorded_attempts(storage, session, job) if root.is_dir()),
            )

    def upload_results(self, context: AppContext, claim: Claim, result: BatchResult) -> None:
        target = context.storage.job_predictions(claim.job_id, claim.fence)
        context.storage.remote.upload(target, target if target.exists() else _made(context, claim))

    def finish(self, context: AppContext, claim: Claim, result: BatchResult) -> None:
        """The files lie in the job's folder; the row that says where is written while the claim stands."""
        storage = context.storage
        target = storage.job_predictions(claim.job_id, claim.fence)
        if not target.exists():
            storage.publish(_made(context, claim), target)
        with context.db.write() as session:
            if (job := hold_to_finish(session, claim)) is not None:
                job.result = {**result.model_dump(mode="json"), "folder": storage.relative(target)}
                asked = Tally(result.images, result.images - result.errors, result.rejected)
                add_tallies(session, {(job.product_id, utc_now().date()): asked})
                complete(session, job)


def _made(context: AppContext, claim: Claim) -> Path:
    return context.storage.attempt(claim.job_id, claim.fence) / FINISHED


def _payload(job: Job) -> PredictionPayload:
    return PredictionPayload.model_validate(job.payload)


def _source(context: AppContext, job: Job, payload: PredictionPayload) -> ArchiveInput | DatasetInput:
    storage, settings = context.storage, context.settings
    if job.dataset_id is not None:
        return DatasetInput(dataset=storage.dataset(job.dataset_id), image_root=storage.images)
    upload = find_upload(storage, job)
    assert upload is not None
    limits = Limits(max_entries=settings.max_dataset_items, max_total_bytes=settings.max_unpacked_bytes)
    return ArchiveInput(path=upload, limits=limits, name_encoding=payload.name_encoding)
