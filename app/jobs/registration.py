"""A model gets its row: what a training made here, or what came from another Loupe."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.artifacts import open_artifact
from app.context import AppContext
from app.jobs.claims import Claim
from app.models import Job, TrainedModel
from app.services.job_states import append_event
from app.services.products import lock_product
from app.storage.home import Storage
from app.training.result import Parity


def new_model_folder(storage: Storage, claim: Claim) -> Path:
    """Where the model of a job goes; the fence in it keeps a stale writer out."""
    return storage.models / claim.job_id.replace("job_", "mdl_", 1) / f"{claim.fence:04d}"


def register_model(
    context: AppContext, session: Session, job: Job, folder: Path, *, metrics: dict[str, Any], parity: Parity
) -> TrainedModel:
    """Registers the artifact in ``folder`` as the job's model, under the next version of its product."""
    artifact = open_artifact(folder, verify=False)
    product = lock_product(session, job.product_id)
    # A worker of the first release gives out numbers without noting them.
    newest = session.scalar(
        select(func.max(TrainedModel.version)).where(TrainedModel.product_id == job.product_id)
    )
    product.last_model_version = max(product.last_model_version, newest or 0) + 1
    manifest = artifact.manifest
    model = TrainedModel(
        id=folder.parent.name,
        product_id=job.product_id,
        job_id=job.id,
        dataset_id=job.dataset_id,
        version=product.last_model_version,
        network=manifest.network,
        folder=context.storage.relative(folder),
        digest=artifact.digest,
        weights_sha256=manifest.weights_sha256,
        bytes=sum(file.stat().st_size for file in folder.iterdir()),
        labels=list(manifest.labels),
        metrics=metrics,
        serving={**asdict(manifest.serving), "parity": parity.model_dump()},
        calibration=None if manifest.calibration is None else asdict(manifest.calibration),
        decision=None if manifest.decision is None else asdict(manifest.decision),
    )
    session.add(model)
    session.flush()
    append_event(session, job, "model", model=model.id, version=model.version)
    return model
