"""What happened, for the webhooks that take it: rows of the very transaction in which it happens.

So nothing is sent that was rolled back, and nothing is forgotten that was committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Dataset, Job, Sweep, TrainedModel, Webhook, WebhookDelivery, WebhookEvent
from app.models.base import db_now, new_id, utc_now
from app.schemas.webhook_events import EVENT_KINDS, EventType


def job_ended(session: Session, job: Job, *, model: str | None) -> None:
    """The job has just moved to the status in which it ends."""
    _record(
        session,
        "job.ended",
        job.product_id,
        {
            "job": job.id,
            "kind": job.kind,
            "product": job.product_id,
            "status": job.status,
            "dataset": job.dataset_id,
            "model": model,
            "error": _shorten(job.error),
        },
        links={"job": f"/jobs/{job.id}"},
    )


def sweep_ended(session: Session, sweep: Sweep) -> None:
    """The sweep has just moved to the status in which it ends."""
    data = {
        "sweep": sweep.id,
        "product": sweep.product_id,
        "status": sweep.status,
        "dataset": sweep.dataset_id,
        "winner": sweep.winner,
        "error": _shorten(sweep.error),
    }
    _record(session, "sweep.ended", sweep.product_id, data, links={"sweep": f"/sweeps/{sweep.id}"})


def dataset_ready(session: Session, dataset: Dataset, job: Job) -> None:
    data = {"dataset": dataset.id, "product": dataset.product_id, "job": job.id, "items": dataset.items}
    links = {"dataset": f"/datasets/{dataset.id}"}
    _record(session, "dataset.ready", dataset.product_id, data, links=links)


def dataset_failed(session: Session, dataset: Dataset, job: Job) -> None:
    error = _shorten(dataset.error)
    data = {"dataset": dataset.id, "product": dataset.product_id, "job": job.id, "error": error}
    links = {"dataset": f"/datasets/{dataset.id}", "job": f"/jobs/{job.id}"}
    _record(session, "dataset.failed", dataset.product_id, data, links=links)


def champion_moved(
    session: Session, model: TrainedModel, *, before: str | None, moved_by: str | None, is_override: bool
) -> None:
    """``moved_by``: the job that ended, or None for a client."""
    _record(
        session,
        "champion.moved",
        model.product_id,
        {
            "product": model.product_id,
            "model": model.id,
            "version": model.version,
            "model_before": before,
            "moved_by": moved_by,
            "is_override": is_override,
        },
        links={"product": f"/products/{model.product_id}", "model": f"/models/{model.id}"},
    )


def model_failed_gate(session: Session, job: Job, model: TrainedModel | None, reasons: Sequence[str]) -> None:
    """``model``: None where the gate keeps none."""
    links = {"job": f"/jobs/{job.id}"} | ({"model": f"/models/{model.id}"} if model else {})
    data = {
        "product": job.product_id,
        "job": job.id,
        "model": model.id if model else None,
        "reasons": list(reasons),
    }
    _record(session, "model.failed_gate", job.product_id, data, links=links)


def model_not_loaded(session: Session, product: str, model: str, *, answering: str, code: str) -> None:
    """``answering``: the model that goes on answering; ``code``: of the error."""
    data = {"product": product, "model": model, "answering": answering, "code": code}
    _record(session, "model.not_loaded", product, data, links={"model": f"/models/{model}"})


def disk_low(session: Session, host: str, *, free_bytes: int, threshold_bytes: int) -> None:
    data = {"host": host, "free_bytes": free_bytes, "threshold_bytes": threshold_bytes}
    _record(session, "disk.low", None, data, links={})


def webhook_disabled(session: Session, webhook: Webhook) -> None:
    """Without the address: many have a secret in their path."""
    data = {"webhook": webhook.id, "reason": webhook.disabled_reason}
    _record(session, "webhook.disabled", None, data, links={"webhook": f"/webhooks/{webhook.id}"})


def is_taken(session: Session, event_type: EventType) -> bool:
    """Whether any webhook would get an event of no product."""
    return bool(_takers(session, event_type, None))


def make_payload(event_type: str, data: Mapping[str, Any], links: Mapping[str, str]) -> dict[str, Any]:
    """The form of Standard Webhooks. Links are paths of this API, whose own address Loupe does not know."""
    now = utc_now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"type": event_type, "timestamp": now, "data": {**data, "links": dict(links)}}


def _record(
    session: Session,
    event_type: EventType,
    product: str | None,
    data: Mapping[str, Any],
    *,
    links: Mapping[str, str],
) -> None:
    """Writes nothing where no webhook takes it."""
    takers = _takers(session, event_type, product)
    if not takers:
        return
    payload = make_payload(event_type, data, links)
    event = WebhookEvent(id=new_id("evt"), type=event_type, product_id=product, payload=payload)
    session.add(event)
    session.flush()
    for webhook in takers:
        session.add(
            WebhookDelivery(id=new_id("dlv"), webhook_id=webhook, event_id=event.id, next_attempt_at=db_now())
        )


def _takers(session: Session, event_type: EventType, product: str | None) -> list[str]:
    assert EVENT_KINDS[event_type].of_product == (product is not None)
    enabled = select(Webhook.id, Webhook.events, Webhook.products).where(Webhook.is_enabled)
    return [
        webhook_id
        for webhook_id, events, products in session.execute(enabled)
        if (events is None or event_type in events) and (products is None or product in products)
    ]


def _shorten(error: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if error is None else {name: error.get(name) for name in ("code", "title")}
