"""``/api-keys``"""

from __future__ import annotations

from fastapi import APIRouter, Response, status

from app.api.dependencies import After, ContextDep, Limit
from app.api.routes import CheckedRoute
from app.schemas.api_key import ApiKey, ApiKeyCreate, ApiKeyRotate, ApiKeyUpdate, NewApiKey
from app.schemas.common import Page
from app.services import api_keys

router = APIRouter(prefix="/api-keys", tags=["access"], route_class=CheckedRoute)


@router.post("", status_code=status.HTTP_201_CREATED)
def create_key(request: ApiKeyCreate, context: ContextDep, response: Response) -> NewApiKey:
    """Make a key. It is shown in this answer alone: a repeat with an Idempotency-Key makes another."""
    key = api_keys.create_key(context, request)
    response.headers["Location"] = f"/api-keys/{key.id}"
    response.headers["Cache-Control"] = "no-store"
    return key


@router.get("")
def list_keys(context: ContextDep, limit: Limit = 50, after: After = None) -> Page[ApiKey]:
    """All keys but LOUPE_API_KEY, newest first, without their secrets."""
    return api_keys.list_keys(context, limit=limit, after=after)


@router.get("/{key}")
def get_key(key: str, context: ContextDep) -> ApiKey:
    """One key: what it may do, in which products, and when it was used last."""
    return api_keys.get_key(context, key)


@router.patch("/{key}")
def change_key(key: str, request: ApiKeyUpdate, context: ContextDep) -> ApiKey:
    """Set or take away limits of a key, on every process within two seconds."""
    return api_keys.change_key(context, key, request)


@router.post("/{key}/rotate")
def rotate_key(
    key: str, context: ContextDep, response: Response, request: ApiKeyRotate | None = None
) -> NewApiKey:
    """Give a key a new secret. The one before is good for `overlap_seconds`; one before that ends now."""
    response.headers["Cache-Control"] = "no-store"
    return api_keys.rotate_key(context, key, request or ApiKeyRotate())


@router.delete("/{key}", status_code=status.HTTP_204_NO_CONTENT)
def delete_key(key: str, context: ContextDep) -> Response:
    """Revoke a key, on every process within two seconds; what it follows ends."""
    api_keys.delete_key(context, key)
    return Response(status_code=status.HTTP_204_NO_CONTENT)
