"""Delivering what happened to webhooks: claim one that is due, send it, write down what came of it.

At least once: an attempt whose worker is lost is made again, with the same id, once its claim has run out.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.orm import Session

from app.context import AppContext
from app.host import failpoints
from app.host.outgoing import Reach
from app.models import Webhook, WebhookDelivery, WebhookEvent
from app.models.base import db_now, utc_now
from app.services import webhook_events
from app.services.webhook_messages import ANSWER_SECONDS, Message, Outcome, secrets_of, send

logger = logging.getLogger(__name__)

SCHEDULE_SECONDS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""From each failure to the next attempt, as Standard Webhooks proposes: ten attempts in three days."""
JITTER = 0.1
LONGEST_WAIT_SECONDS = 86_400.0
CLAIM_SECONDS = 3 * ANSWER_SECONDS
KEPT = timedelta(days=30)
"""How long the log is kept. Longer than any delivery is tried."""


@dataclass(frozen=True)
class Claim:
    """The right to make one attempt: void once the delivery has had another."""

    delivery: str
    attempt: int
    webhook: str
    url: str
    secrets: tuple[str, ...]
    message: Message


def claim_due(context: AppContext, *, busy: Collection[str], limit: int) -> list[Claim]:
    """Takes the oldest delivery that is due of each webhook, but of those that are ``busy``.

    One of each, so that a receiver that hangs holds up no other.
    """
    due = (
        select(func.min(WebhookDelivery.id))
        .join(Webhook, Webhook.id == WebhookDelivery.webhook_id)
        .where(
            WebhookDelivery.next_attempt_at <= db_now(),
            Webhook.is_enabled,
            WebhookDelivery.webhook_id.not_in(busy),
        )
        .group_by(WebhookDelivery.webhook_id)
        .order_by(func.min(WebhookDelivery.next_attempt_at))
        .limit(limit)
    )
    with context.db.read() as session:
        found = session.scalars(due).all()
    claims = [_claim(context, delivery) for delivery in found]
    return [claim for claim in claims if claim is not None]


def deliver(context: AppContext, claim: Claim) -> Outcome:
    """Makes the attempt. While the database is away it counts as lost, and is made again."""
    outcome = _send(context, claim)
    failpoints.pass_by("webhook.sent")
    with context.db.write() as session:
        _settle(session, claim, outcome)
    if outcome.error is not None:
        logger.warning("webhook %s: %s: %s", claim.webhook, claim.message.id, outcome.error)
    return outcome


def forget_old_deliveries(context: AppContext) -> None:
    """Deletes from the log what is older than ``KEPT``, and what is of a webhook that was deleted."""
    oldest = utc_now() - KEPT
    with context.db.write() as session:
        session.execute(delete(WebhookDelivery).where(WebhookDelivery.webhook_id.not_in(select(Webhook.id))))
        session.execute(delete(WebhookDelivery).where(WebhookDelivery.created_at < oldest))
        left = exists().where(WebhookDelivery.event_id == WebhookEvent.id)
        session.execute(delete(WebhookEvent).where(~left))


def _claim(context: AppContext, delivery_id: str) -> Claim | None:
    """None when another worker was faster, or the webhook was deleted or disabled."""
    with context.db.write() as session:
        taken = session.execute(
            update(WebhookDelivery)
            .where(
                WebhookDelivery.id == delivery_id,
                WebhookDelivery.next_attempt_at <= db_now(),
                exists().where(Webhook.id == WebhookDelivery.webhook_id, Webhook.is_enabled),
            )
            .values(attempts=WebhookDelivery.attempts + 1, next_attempt_at=db_now() + CLAIM_SECONDS)
            .returning(WebhookDelivery.attempts, WebhookDelivery.webhook_id, WebhookDelivery.event_id)
            .execution_options(synchronize_session=False)
        ).one_or_none()
        webhook = session.get(Webhook, taken.webhook_id) if taken is not None else None
        if taken is None or webhook is None:
            return None
        event = session.get_one(WebhookEvent, taken.event_id)
        return Claim(
            delivery=delivery_id,
            attempt=taken.attempts,
            webhook=webhook.id,
            url=webhook.url,
            secrets=secrets_of(webhook),
            message=Message(event.id, event.payload),
        )


def _send(context: AppContext, claim: Claim) -> Outcome:
    """What nobody foresaw is an outcome too: else the message would be sent every half minute for ever."""
    try:
        return send(claim.url, claim.secrets, claim.message, Reach(context.settings.webhook_hosts))
    except Exception:
        logger.exception("webhook %s: the attempt broke off", claim.webhook)
        return Outcome(None, "The attempt broke off; the worker's log says where.", None, None, 0.0)


def _settle(session: Session, claim: Claim, outcome: Outcome) -> None:
    """Writes down what came of an attempt, unless a newer one has begun."""
    held = session.execute(
        update(WebhookDelivery)
        .where(WebhookDelivery.id == claim.delivery, WebhookDelivery.attempts == claim.attempt)
        .values(
            status_code=outcome.status_code,
            error=outcome.error and outcome.error[:1000],
            attempted_at=utc_now(),
        )
        .returning(WebhookDelivery.id)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if held is None:
        return
    delivery = session.get_one(WebhookDelivery, claim.delivery, populate_existing=True)
    made = delivery.attempts - delivery.scheduled_after
    if outcome.error is None:
        delivery.status, delivery.next_attempt_at = "delivered", None
    elif outcome.is_gone or made > len(SCHEDULE_SECONDS):
        delivery.status, delivery.next_attempt_at = "failed", None
        _disable(session, delivery, outcome)
    else:
        wait = max(SCHEDULE_SECONDS[made - 1] * _jitter(), outcome.retry_after_seconds or 0.0)
        delivery.next_attempt_at = session.scalars(select(db_now())).one() + min(wait, LONGEST_WAIT_SECONDS)


def _disable(session: Session, delivery: WebhookDelivery, outcome: Outcome) -> None:
    """Ends a webhook whose receiver wants no more, or took nothing since the event of ``delivery``."""
    webhook = session.get(Webhook, delivery.webhook_id, with_for_update=True)
    if webhook is None or not webhook.is_enabled:
        return
    if outcome.is_gone:
        webhook.disabled_reason = "The receiver answered 410: it does not want messages any more."
    else:
        taken = exists().where(
            WebhookDelivery.webhook_id == webhook.id,
            WebhookDelivery.status == "delivered",
            WebhookDelivery.attempted_at > delivery.created_at,
        )
        if session.scalar(select(taken)):
            return
        webhook.disabled_reason = (
            f"Nothing could be delivered in {delivery.attempts} attempts: {outcome.error}"[:1000]
        )
    webhook.is_enabled = False
    session.flush()
    webhook_events.webhook_disabled(session, webhook)
    logger.error("webhook %s is disabled: %s", webhook.id, webhook.disabled_reason)


def _jitter() -> float:
    """So that a receiver that fails under many messages does not get them all again at one moment."""
    return 1 + random.uniform(-JITTER, JITTER)
