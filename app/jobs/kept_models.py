"""Removes models that failed their gate, once they are too many or too old."""

from __future__ import annotations

import logging
from datetime import timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.changes import note_change
from app.context import AppContext
from app.models import Evaluation, Job, TrainedModel
from app.models.alias import TOPIC
from app.models.base import utc_now
from app.services.aliases import models_of_recent_moves
from app.services.job_states import append_event
from app.services.products import lock_product
from app.services.trained_models import jobs_by_model

logger = logging.getLogger(__name__)


def remove_kept_models(context: AppContext) -> list[str]:
    """Removes the models that failed their gate and are too many or too old; returns their ids.

    Their jobs stay, with their evaluations. A model stays that an alias points at or lately pointed at, or
    that a job is going to read.
    """
    failed = select(TrainedModel.product_id).where(TrainedModel.passed_gate.is_(False)).distinct()
    with context.db.read() as session:
        products = [
            product_id
            for product_id in session.scalars(failed).all()
            if _too_many_or_too_old(context, session, product_id)
        ]
    removed = []
    for product_id in products:
        with context.db.write() as session:
            lock_product(session, product_id)
            found = _too_many_or_too_old(context, session, product_id, hold=True)
            models = [model for model in found if _remove_model(session, model)]
        for model in models:
            logger.info("garbage: model %s failed its gate and has been kept for long enough", model.id)
            context.storage.discard(context.storage.absolute(model.folder).parent)
            removed.append(model.id)
    return removed


def _too_many_or_too_old(
    context: AppContext, session: Session, product_id: str, *, hold: bool = False
) -> list[TrainedModel]:
    """``hold`` locks the rows, but none that a request for an evaluation holds already."""
    of_product = TrainedModel.product_id == product_id
    kept = select(TrainedModel).where(of_product, TrainedModel.passed_gate.is_(False))
    if hold:
        kept = kept.with_for_update(skip_locked=True)
    failed = session.scalars(kept.order_by(TrainedModel.version.desc())).all()
    oldest = utc_now() - timedelta(days=context.settings.kept_model_days)
    needed = models_of_recent_moves(session, product_id) | jobs_by_model(session, product_id).keys()
    return [
        model
        for rank, model in enumerate(failed)
        if (rank >= context.settings.kept_models or model.created_at < oldest) and model.id not in needed
    ]


def _remove_model(session: Session, model: TrainedModel) -> bool:
    """False while somebody else holds its job, perhaps to delete it."""
    job = session.scalar(select(Job).where(Job.id == model.job_id).with_for_update(skip_locked=True))
    if job is None:
        return False
    job.gate = {
        **(job.gate or {"passed": False}),
        "reasons": [*(job.gate or {}).get("reasons", []), f"The model {model.id} was removed since."],
    }
    append_event(session, job, "model_removed", model=model.id, version=model.version)
    session.execute(update(Evaluation).where(Evaluation.model_id == model.id).values(model_id=None))
    note_change(session, TOPIC)
    session.delete(model)
    return True
