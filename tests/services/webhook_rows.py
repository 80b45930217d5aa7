"""Webhooks and what they are sent, as rows."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update

from app.context import AppContext
from app.models import Webhook, WebhookDelivery, WebhookEvent
from app.models.base import new_id, utc_now
from app.schemas.webhook_events import EventType
from app.services import webhook_events
from app.services.webhook_messages import new_secret


def add_webhook(
    context: AppContext,
    url: str = "https://hooks.example/",
    events: list[EventType] | None = None,
    products: list[str] | None = None,
    **more: Any,
) -> str:
    with context.db.write() as session:
        webhook = Webhook(
            id=new_id("whk"), url=url, events=events, products=products, secret=new_secret(), **more
        )
        session.add(webhook)
        return webhook.id


def happen(context: AppContext, times: int = 1) -> None:
    """Something that happens to no product."""
    for _ in range(times):
        with context.db.write() as session:
            webhook_events.disk_low(session, "here", free_bytes=1, threshold_bytes=2)


def read_webhook(context: AppContext, webhook_id: str) -> Webhook:
    with context.db.read() as session:
        return session.get_one(Webhook, webhook_id)


def deliveries(context: AppContext, webhook_id: str | None = None) -> list[WebhookDelivery]:
    """Oldest first."""
    query = select(WebhookDelivery).order_by(WebhookDelivery.id)
    if webhook_id is not None:
        query = query.where(WebhookDelivery.webhook_id == webhook_id)
    with context.db.read() as session:
        return list(session.scalars(query))


def payloads(context: AppContext) -> list[dict[str, Any]]:
    """Oldest first; without what is always there."""
    with context.db.read() as session:
        rows = session.scalars(select(WebhookEvent).order_by(WebhookEvent.id)).all()
    assert all(row.payload["timestamp"].endswith("Z") for row in rows)
    assert [row.type for row in rows] == [row.payload["type"] for row in rows]
    return [{"type": row.type, "product": row.product_id, **row.payload["data"]} for row in rows]


def let_pass(context: AppContext, seconds: float) -> None:
    """So much time has passed for every delivery."""
    with context.db.write() as session:
        session.execute(
            update(WebhookDelivery).values(next_attempt_at=WebhookDelivery.next_attempt_at - seconds)
        )


def age(context: AppContext, delivery_id: str, **ago: Any) -> None:
    with context.db.write() as session:
        session.get_one(WebhookDelivery, delivery_id).created_at = utc_now() - ago["ago"]
