"""Models that can be served, registered without a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.artifacts import Artifact
from app.context import AppContext
from app.models import Dataset, Job, Product, TrainedModel
from app.models.base import new_id
from app.services.aliases import move_alias

MakeArtifact = Callable[..., Artifact]


def add_served_model(
    context: AppContext,
    make_artifact: MakeArtifact,
    product: str = "squares",
    *,
    alias: str | None = None,
    **manifest: Any,
) -> str:
    """The id of a model of a product, which is made if there is none, and with an alias if one is given."""
    model_id = new_id("mdl")
    folder = context.storage.models / model_id / "1"
    folder.parent.mkdir(parents=True)
    artifact = make_artifact(folder, **manifest)
    with context.db.write() as session:
        row = session.get(Product, product)
        if row is None:
            row = Product(id=product, name=product, last_model_version=0)
            session.add(row)
            session.flush()
        row.last_model_version += 1
        dataset = Dataset(id=new_id("dst"), product_id=product, status="ready", source="p.zip")
        session.add(dataset)
        session.flush()
        job = Job(
            id=new_id("job"),
            kind="training",
            status="succeeded",
            product_id=product,
            dataset_id=dataset.id,
            hyperparameters={},
            payload={},
        )
        session.add(job)
        session.flush()
        model = TrainedModel(
            id=model_id,
            product_id=product,
            job_id=job.id,
            dataset_id=dataset.id,
            version=row.last_model_version,
            network="tiny_cnn",
            folder=context.storage.relative(folder),
            digest=artifact.digest,
            weights_sha256="",
            bytes=1,
            labels=list(artifact.manifest.labels),
            metrics={},
            serving={},
        )
        session.add(model)
        session.flush()
        if alias is not None:
            move_alias(session, alias, model, moved_by=None, reason=None)
    return model_id
