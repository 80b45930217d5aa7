"""What a job needs, brought from the shared storage into this host's home folder before its child starts."""

from __future__ import annotations

import logging
from pathlib import Path

from sqlalchemy.orm import Session

from app.context import AppContext
from app.errors import StorageDamagedError
from app.jobs.claims import Claim
from app.jobs.waiting import resolve_waiting
from app.models import Job, TrainedModel
from app.storage.dataset_packs import fetch_pictures
from app.storage.home import Storage
from app.storage.weights import fetch_weights
from app.workers.specs import recorded_attempts

logger = logging.getLogger(__name__)


def fetch_inputs(context: AppContext, claim: Claim) -> None:
    """Returns when all is here. Raises UnavailableError, StorageDamagedError. May be repeated."""
    resolve_waiting(context, claim)  # Before its split is fetched, which others may have made.
    storage = context.storage
    with context.db.read() as session:
        job = session.get_one(Job, claim.job_id)
        payload, settings = job.payload, job.hyperparameters or {}
        attempts = recorded_attempts(storage, session, job)
        model = _find_model(session, settings.get("pretrained") or payload.get("model"))
    if claim.kind == "import":
        if payload["is_upload"]:
            storage.fetch(storage.absolute(payload["source"]))
        return
    fetch_pictures(storage, job.dataset)
    if claim.kind == "training":
        storage.fetch(storage.job_split(job.id))
        _fetch_checkpoint(storage, attempts)
        if settings.get("pretrained") == "imagenet":
            fetch_weights(storage, job.network or "")
    elif payload.get("job"):
        storage.fetch(storage.job_split(payload["job"]))
    if model is not None:
        storage.fetch(storage.absolute(model))


def _find_model(session: Session, model_id: str | None) -> str | None:
    model = session.get(TrainedModel, model_id or "")
    return None if model is None else model.folder


def _fetch_checkpoint(storage: Storage, attempts: list[Path]) -> None:
    """The newest that is whole; a damaged one is passed over for the one before, as on the disk."""
    assert storage.bundles is not None
    for attempt in attempts:
        for key in reversed(storage.bundles.list_keys(storage.relative(attempt))):
            try:
                storage.fetch(storage.absolute(key))
            except StorageDamagedError as error:
                logger.warning("%s The one before is tried.", error.detail)
            else:
                return
