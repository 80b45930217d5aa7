"""Imports of models: a model of another Loupe is built anew and registered; no alias points at it."""

from __future__ import annotations

from app.artifacts import open_artifact
from app.context import AppContext
from app.jobs.claims import Claim, complete, hold_to_finish, read_claimed
from app.jobs.kinds.base import Kind
from app.jobs.registration import new_model_folder, register_model
from app.jobs.uploads import download_upload
from app.models.base import utc_now
from app.schemas.model import ModelOrigin
from app.services.job_lifecycle import find_upload
from app.training.transfer.spec import ModelImportResult, ModelImportSpec


class ModelImport(Kind[ModelImportSpec, ModelImportResult]):
    name = "model_import"
    module = "app.training.transfer"
    result_type = ModelImportResult

    def download_inputs(self, context: AppContext, claim: Claim) -> None:
        download_upload(context, claim)

    def build_spec(self, context: AppContext, claim: Claim) -> ModelImportSpec:
        job = read_claimed(context, claim)
        source = find_upload(context.storage, job)
        assert source is not None
        return ModelImportSpec(
            source=source, out=context.storage.attempt(claim.job_id, claim.fence) / "artifact"
        )

    def upload_results(self, context: AppContext, claim: Claim, result: ModelImportResult) -> None:
        target = new_model_folder(context.storage, claim)
        context.storage.remote.upload(target, target if target.exists() else result.artifact)

    def finish(self, context: AppContext, claim: Claim, result: ModelImportResult) -> None:
        """Publishes the artifact and registers the model. It becomes champion only by hand."""
        storage, folder = context.storage, new_model_folder(context.storage, claim)
        if not folder.exists():
            storage.publish(result.artifact, folder)
        manifest = open_artifact(folder, verify=False).manifest
        assert manifest.origin is not None
        with context.db.write() as session:
            if (job := hold_to_finish(session, claim)) is None:
                storage.discard(folder.parent)
                return
            model = register_model(
                context, session, job, folder, metrics=dict(manifest.metrics), parity=result.parity
            )
            model.passed_gate = True  # There is none: whoever may import may also promote.
            model.origin = ModelOrigin(
                artifact_digest=manifest.origin.artifact_digest,
                model=manifest.origin.model,
                product=manifest.origin.product,
                version=manifest.origin.version,
                dataset_digest=manifest.dataset_digest,
                trained_at=manifest.created_at,
                key=job.key_id,
                imported_at=utc_now(),
            ).model_dump(mode="json")
            job.network = manifest.network
            job.result = result.model_dump(mode="json", include={"parity"})
            complete(session, job, model=model.id)
        for other in storage.siblings(folder):
            storage.discard(other)
