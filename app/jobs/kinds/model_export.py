"""Exports of models: a model as a file for other programs, checked against the served one."""

from __future__ import annotations

from pathlib import Path

from app.context import AppContext
from app.jobs.claims import Claim, complete, hold_to_finish, read_claimed
from app.jobs.kinds.base import Kind
from app.models import Job, TrainedModel
from app.models.base import utc_now
from app.schemas.job_payloads import ModelExportPayload
from app.schemas.model import ExportParity, StoredExport
from app.storage.model_folders import download_model
from app.training.transfer.spec import ConversionResult, ConversionSpec


class ModelExportKind(Kind[ConversionSpec, ConversionResult]):
    name = "model_export"
    module = "app.training.transfer"
    result_type = ConversionResult

    def download_inputs(self, context: AppContext, claim: Claim) -> None:
        model = _read_model(context, read_claimed(context, claim))
        download_model(context.storage, context.storage.absolute(model.folder), model.digest)

    def build_spec(self, context: AppContext, claim: Claim) -> ConversionSpec:
        job, storage = read_claimed(context, claim), context.storage
        model = _read_model(context, job)
        return ConversionSpec(
            artifact=storage.absolute(model.folder),
            artifact_digest=model.digest,
            format=ModelExportPayload.model_validate(job.payload).format,
            out=storage.attempt(job.id, claim.fence) / "export",
        )

    def upload_results(self, context: AppContext, claim: Claim, result: ConversionResult) -> None:
        target = _target(context, claim)
        context.storage.remote.upload(target, target if target.exists() else result.out)

    def finish(self, context: AppContext, claim: Claim, result: ConversionResult) -> None:
        """The file lies beside the model, and goes with it. One that was made before is replaced."""
        storage, target = context.storage, _target(context, claim)
        if not target.exists():
            storage.publish(result.out, target)
        with context.db.write() as session:
            if (job := hold_to_finish(session, claim)) is None:
                return
            wanted = ModelExportPayload.model_validate(job.payload)
            model = session.get_one(TrainedModel, wanted.model, with_for_update=True)
            stored = StoredExport(
                format=wanted.format,
                bytes=result.bytes,
                sha256=result.sha256,
                parity=ExportParity(**result.parity.model_dump()),
                versions=result.versions,
                job=job.id,
                created_at=utc_now(),
                folder=storage.relative(target),
                file=result.file,
            )
            model.exports = {**(model.exports or {}), wanted.format: stored.model_dump(mode="json")}
            job.result = result.model_dump(mode="json", exclude={"out"})
            complete(session, job)
            needed = {storage.absolute(export["folder"]) for export in model.exports.values()}
        for other in storage.siblings(target):
            if other not in needed:
                storage.discard(other)


def _target(context: AppContext, claim: Claim) -> Path:
    """Where the file goes; the fence in it keeps a stale writer out."""
    model = _read_model(context, read_claimed(context, claim))
    folder = context.storage.absolute(model.folder).parent / "exports"
    return folder / f"{claim.job_id}-{claim.fence:04d}"


def _read_model(context: AppContext, job: Job) -> TrainedModel:
    with context.db.read() as session:
        return session.get_one(TrainedModel, ModelExportPayload.model_validate(job.payload).model)
