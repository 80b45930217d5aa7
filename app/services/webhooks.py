"""Webhooks: create, read, change, delete, test; and the log of what they were sent."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.errors import ConflictError, FieldError, InvalidRequestError, NotFoundError, UnavailableError
from app.host.outgoing import Destination, NoAnswerError, Reach, find_addresses
from app.models import Webhook, WebhookDelivery, WebhookEvent
from app.models.base import db_now, new_id, utc_now
from app.schemas import webhook as schemas
from app.schemas.common import Page
from app.schemas.webhook_events import TEST
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.pages import fetch_page
from app.services.products import hold_products
from app.services.webhook_events import make_payload
from app.services.webhook_messages import Message, Outcome, new_secret, secrets_of, send

MOST_WEBHOOKS = 100
"""Each is looked at wherever something happens."""
LOOKUP_SECONDS = 3.0
# Each holds a thread of the API for ten seconds at most; predictions need them too.
_tests = threading.BoundedSemaphore(4)


def create_webhook(
    context: AppContext, request: schemas.WebhookCreate, idempotent: IdempotentRequest | None = None
) -> Answer:
    """Makes a webhook with a secret of its own. Raises AddressRefusedError, ConflictError."""
    _check_address(context, request.url)
    with context.db.write() as session:
        if (before := recall(session, idempotent)) is not None:
            return _with_secret(session, before)
        if (session.scalar(select(func.count(Webhook.id))) or 0) >= MOST_WEBHOOKS:
            raise ConflictError(
                f"There are {MOST_WEBHOOKS} webhooks already.", hint="Delete those that are not needed."
            )
        hold_products(session, request.products or ())
        webhook = Webhook(
            id=new_id("whk"),
            url=request.url,
            events=_once(request.events),
            products=_once(request.products),
            note=request.note,
            secret=new_secret(),
        )
        session.add(webhook)
        session.flush()
        answer = Answer(_to_schema(webhook).model_dump(mode="json"), f"/webhooks/{webhook.id}")
        # Without the secret, which lies in one place alone.
        remember(session, idempotent, 201, answer)
        return _with_secret(session, answer)


def list_webhooks(context: AppContext, *, limit: int, after: str | None) -> Page[schemas.Webhook]:
    with context.db.read() as session:
        return fetch_page(session, select(Webhook), Webhook.id, _to_schema, limit=limit, after=after)


def get_webhook(context: AppContext, webhook_id: str) -> schemas.Webhook:
    with context.db.read() as session:
        return _to_schema(_require_webhook(session, webhook_id))


def update_webhook(context: AppContext, webhook_id: str, request: schemas.WebhookUpdate) -> schemas.Webhook:
    """Changes what the request names and leaves the rest."""
    changes = request.model_dump(exclude_unset=True)
    if request.url is not None:
        _check_address(context, request.url)
    with context.db.write() as session:
        _require_webhook(session, webhook_id)
        # Before the webhook, as the deletion of a product has it.
        hold_products(session, request.products or ())
        webhook = _lock_webhook(session, webhook_id)
        if "products" in changes:
            webhook.products = _once(request.products)
        if "events" in changes:
            webhook.events = _once(request.events)
        _check_reachable(webhook)
        if "note" in changes:
            webhook.note = request.note
        if request.url is not None:
            webhook.url = request.url
        if request.enabled is not None:
            webhook.is_enabled = request.enabled
            webhook.disabled_reason = None
        session.flush()
        return _to_schema(webhook)


def delete_webhook(context: AppContext, webhook_id: str) -> None:
    """Deletes a webhook with its log; what is on its way to it may still arrive."""
    with context.db.write() as session:
        # In the order of a worker that disables a webhook: it holds the delivery that failed.
        session.execute(delete(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id))
        session.delete(_lock_webhook(session, webhook_id))


def unbind_product(session: Session, product_id: str) -> None:
    """Takes a product that is deleted from the webhooks that are bound to it: another may get its id."""
    # Held: another deletion may be taking a product from the same list.
    for webhook in session.scalars(select(Webhook).order_by(Webhook.id).with_for_update()):
        if webhook.products is not None and product_id in webhook.products:
            webhook.products = [one for one in webhook.products if one != product_id]


def rotate_secret(context: AppContext, webhook_id: str) -> schemas.WebhookWithSecret:
    """Gives a webhook a new secret. The one before signs too for a day, the one before that no more."""
    with context.db.write() as session:
        webhook = _lock_webhook(session, webhook_id)
        webhook.old_secret, webhook.secret = webhook.secret, new_secret()
        webhook.rotated_at = utc_now()
        session.flush()
        return schemas.WebhookWithSecret(**_to_schema(webhook).model_dump(), secret=webhook.secret)


def send_test(context: AppContext, webhook_id: str) -> schemas.WebhookTest:
    """Sends a message now, once, also to a disabled webhook, and writes it to the log.

    Raises UnavailableError while several others are sent.
    """
    with context.db.read() as session:
        webhook = _require_webhook(session, webhook_id)
        secrets = secrets_of(webhook)
    links = {"webhook": f"/webhooks/{webhook_id}"}
    message = Message(new_id("evt"), make_payload(TEST, {"webhook": webhook_id}, links))
    if not _tests.acquire(blocking=False):
        raise UnavailableError("Other tests are on their way.", hint="Try again in some seconds.")
    try:
        outcome = send(webhook.url, secrets, message, Reach(context.settings.webhook_hosts))
    finally:
        _tests.release()
    delivery = WebhookDelivery(
        id=new_id("dlv"),
        webhook_id=webhook_id,
        event_id=message.id,
        status="delivered" if outcome.error is None else "failed",
        attempts=1,
        status_code=outcome.status_code,
        error=outcome.error and outcome.error[:1000],
        attempted_at=utc_now(),
    )
    with context.db.write() as session:
        session.add(WebhookEvent(id=message.id, type=TEST, payload=dict(message.payload)))
        session.flush()
        session.add(delivery)
    return _to_test(delivery.id, outcome)


def list_deliveries(
    context: AppContext, webhook_id: str, *, limit: int, after: str | None
) -> Page[schemas.WebhookDelivery]:
    query = select(WebhookDelivery).where(WebhookDelivery.webhook_id == webhook_id)
    with context.db.read() as session:
        _require_webhook(session, webhook_id)
        return fetch_page(
            session,
            query,
            WebhookDelivery.id,
            lambda row: _delivery_to_schema(session, row),
            limit=limit,
            after=after,
        )


def retry_delivery(context: AppContext, webhook_id: str, delivery_id: str) -> schemas.WebhookDelivery:
    """Has a delivery tried again at once, also one that arrived, and by the whole schedule if need be."""
    with context.db.write() as session:
        webhook = _require_webhook(session, webhook_id)
        delivery = session.get(WebhookDelivery, delivery_id, with_for_update=True)
        if delivery is None or delivery.webhook_id != webhook_id:
            raise NotFoundError(
                f"Webhook {webhook_id} has no delivery {delivery_id!r}.",
                hint=f"`GET /webhooks/{webhook_id}/deliveries` lists them.",
            )
        if not webhook.is_enabled:
            raise ConflictError(
                f"Webhook {webhook_id} is disabled: nothing is sent to it.",
                hint='Enable it first: `PATCH /webhooks/<id>` with {"enabled": true}.',
            )
        delivery.status = "pending"
        delivery.scheduled_after = delivery.attempts
        delivery.next_attempt_at = session.scalars(select(db_now())).one()
        session.flush()
        return _delivery_to_schema(session, delivery)


def _check_address(context: AppContext, url: str) -> None:
    """Raises AddressRefusedError. A name that cannot be looked up now is checked when something is sent."""
    reach = Reach(context.settings.webhook_hosts)
    with contextlib.suppress(NoAnswerError):
        find_addresses(Destination.of(url), reach, seconds=LOOKUP_SECONDS)


def _check_reachable(webhook: Webhook) -> None:
    try:
        schemas.check_reachable(webhook.events, webhook.products)  # type: ignore[arg-type]
    except ValueError as error:
        raise InvalidRequestError(
            str(error), hint="Leave one of the two out.", errors=(FieldError("/events", str(error)),)
        ) from None


def _once(values: Sequence[str] | None) -> list[str] | None:
    return None if values is None else list(dict.fromkeys(values))


def _with_secret(session: Session, answer: Answer) -> Answer:
    """The answer to the creating request, which may be repeated: the secret as long as it is the first."""
    webhook = session.get(Webhook, answer.body["id"])
    secret = webhook.secret if webhook is not None and webhook.rotated_at is None else None
    return Answer({**answer.body, "secret": secret}, answer.location)


def _require_webhook(session: Session, webhook_id: str) -> Webhook:
    return _required(session.get(Webhook, webhook_id), webhook_id)


def _lock_webhook(session: Session, webhook_id: str) -> Webhook:
    """The webhook's row, held until the end of the transaction; raises NotFoundError."""
    held = session.get(Webhook, webhook_id, with_for_update=True, populate_existing=True)
    return _required(held, webhook_id)


def _required(webhook: Webhook | None, webhook_id: str) -> Webhook:
    if webhook is None:
        raise NotFoundError(f"There is no webhook {webhook_id!r}.", hint="`GET /webhooks` lists them.")
    return webhook


def _to_schema(webhook: Webhook) -> schemas.Webhook:
    return schemas.Webhook(
        id=webhook.id,
        url=webhook.url,
        events=webhook.events,
        products=webhook.products,
        note=webhook.note,
        enabled=webhook.is_enabled,
        disabled_reason=webhook.disabled_reason,
        rotated_at=webhook.rotated_at,
        created_at=webhook.created_at,
    )


def _delivery_to_schema(session: Session, delivery: WebhookDelivery) -> schemas.WebhookDelivery:
    event = session.get_one(WebhookEvent, delivery.event_id)
    next_attempt = delivery.next_attempt_at
    return schemas.WebhookDelivery(
        id=delivery.id,
        event=event.id,
        type=event.type,
        product=event.product_id,
        status=delivery.status,
        attempts=delivery.attempts,
        status_code=delivery.status_code,
        error=delivery.error,
        created_at=delivery.created_at,
        attempted_at=delivery.attempted_at,
        next_attempt_at=None if next_attempt is None else datetime.fromtimestamp(next_attempt, UTC),
    )


def _to_test(delivery_id: str, outcome: Outcome) -> schemas.WebhookTest:
    return schemas.WebhookTest(
        delivery=delivery_id,
        delivered=outcome.error is None,
        status_code=outcome.status_code,
        seconds=round(outcome.seconds, 3),
        error=outcome.error,
        hint=outcome.hint,
    )
