"""Imports: an upload or a folder becomes a dataset."""

from __future__ import annotations

from pathlib import Path

from app.context import AppContext
from app.datasets.sources import Limits
from app.datasets.spec import ImportResult, ImportSpec
from app.jobs.claims import Claim, complete, hold_to_finish, read_claimed
from app.jobs.examinations import tools_of_import
from app.jobs.kinds.base import Kind
from app.jobs.uploads import download_upload
from app.jobs.waiting import find_ready
from app.models import Dataset
from app.models.base import utc_now
from app.schemas.import_choices import ImportChoices
from app.schemas.job_payloads import ImportPayload
from app.services import webhook_events
from app.services.job_lifecycle import find_upload
from app.services.key_quotas import default_limits, require_room_for_images
from app.storage.extractor import download_extractor, upload_extractor


class DatasetImport(Kind[ImportSpec, ImportResult]):
    name = "import"
    module = "app.datasets"
    result_type = ImportResult

    def download_inputs(self, context: AppContext, claim: Claim) -> None:
        if ImportPayload.model_validate(read_claimed(context, claim).payload).is_upload:
            download_upload(context, claim)
        if context.settings.examine_imports:
            download_extractor(context.storage)

    def build_spec(self, context: AppContext, claim: Claim) -> ImportSpec:
        job, settings, storage = read_claimed(context, claim), context.settings, context.storage
        payload = ImportPayload.model_validate(job.payload)
        return ImportSpec(
            source=find_upload(storage, job) or Path(payload.source),
            is_upload=payload.is_upload,
            roots=settings.dataset_roots,
            image_root=storage.images,
            out=storage.dataset(job.dataset),
            limits=Limits(
                max_entries=settings.max_dataset_items, max_total_bytes=settings.max_unpacked_bytes
            ),
            choices=ImportChoices.model_validate(job.payload),
            tools=tools_of_import(context, job.id),
        )

    def upload_results(self, context: AppContext, claim: Claim, result: ImportResult) -> None:
        context.storage.remote.upload_dataset(read_claimed(context, claim).dataset)
        upload_extractor(context.storage)

    def finish(self, context: AppContext, claim: Claim, result: ImportResult) -> None:
        finish_dataset(context, claim, result)


def finish_dataset(context: AppContext, claim: Claim, result: ImportResult) -> None:
    """The dataset is ready; the child published its folder under the dataset's id.

    Jobs that waited for it are announced.
    """
    with context.db.write() as session:
        if (job := hold_to_finish(session, claim)) is None:
            return
        described = result.model_dump(mode="json")
        dataset = session.get_one(Dataset, job.dataset)
        dataset.status = "ready"
        dataset.ready_at = utc_now()
        for name in ("digest", "classes", "counts", "items", "skipped", "examination"):
            setattr(dataset, name, described[name])
        require_room_for_images(session, dataset, default_limits(context.settings))
        job.result = described
        complete(session, job)
        webhook_events.dataset_ready(session, dataset, job)
        waiting = find_ready(session, dataset)
    for message in waiting:
        context.queue.enqueue(*message)
