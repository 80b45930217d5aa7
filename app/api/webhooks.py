"""``/webhooks``"""

from __future__ import annotations

from fastapi import APIRouter, Response, status
from fastapi.responses import JSONResponse

from app.api.answers import created
from app.api.dependencies import After, ContextDep, IdempotentDep, Limit
from app.api.routes import CheckedRoute
from app.schemas.common import Page
from app.schemas.webhook import (
    Webhook,
    WebhookCreate,
    WebhookDelivery,
    WebhookTest,
    WebhookUpdate,
    WebhookWithSecret,
)
from app.services import webhooks

router = APIRouter(prefix="/webhooks", tags=["webhooks"], route_class=CheckedRoute)


@router.post("", status_code=status.HTTP_201_CREATED, response_model=WebhookWithSecret)
def create_webhook(request: WebhookCreate, context: ContextDep, idempotent: IdempotentDep) -> JSONResponse:
    """Have Loupe post to an address what happens. The answer shows the secret, once."""
    return created(webhooks.create_webhook(context, request, idempotent))


@router.get("")
def list_webhooks(context: ContextDep, limit: Limit = 50, after: After = None) -> Page[Webhook]:
    """All webhooks, without their secrets."""
    return webhooks.list_webhooks(context, limit=limit, after=after)


@router.get("/{webhook}")
def get_webhook(webhook: str, context: ContextDep) -> Webhook:
    """One webhook, without its secret."""
    return webhooks.get_webhook(context, webhook)


@router.patch("/{webhook}")
def update_webhook(webhook: str, request: WebhookUpdate, context: ContextDep) -> Webhook:
    """Change a webhook's address, events, products or note; disable it, or enable it again."""
    return webhooks.update_webhook(context, webhook, request)


@router.delete("/{webhook}", status_code=status.HTTP_204_NO_CONTENT)
def delete_webhook(webhook: str, context: ContextDep) -> Response:
    """Delete a webhook with its log."""
    webhooks.delete_webhook(context, webhook)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post("/{webhook}/rotate")
def rotate_secret(webhook: str, context: ContextDep) -> WebhookWithSecret:
    """Give a webhook a new secret. For 24 hours messages are signed with the old one too."""
    return webhooks.rotate_secret(context, webhook)


@router.post("/{webhook}/test")
def send_test(webhook: str, context: ContextDep) -> WebhookTest:
    """Send a test message now, and say what came of it within ten seconds. It is not tried again."""
    return webhooks.send_test(context, webhook)


@router.get("/{webhook}/deliveries")
def list_deliveries(
    webhook: str, context: ContextDep, limit: Limit = 50, after: After = None
) -> Page[WebhookDelivery]:
    """What a webhook was sent in the last 30 days, newest first, and what came of it."""
    return webhooks.list_deliveries(context, webhook, limit=limit, after=after)


@router.post("/{webhook}/deliveries/{delivery}/retry", status_code=status.HTTP_202_ACCEPTED)
def retry_delivery(webhook: str, delivery: str, context: ContextDep) -> WebhookDelivery:
    """Send a message again, under the same id, also one that arrived."""
    return webhooks.retry_delivery(context, webhook, delivery)
