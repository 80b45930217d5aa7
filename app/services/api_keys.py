"""API keys: make, list, rotate, delete. Each change reaches every process within two seconds."""

from __future__ import annotations

import secrets
import string
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.changes import note_change
from app.context import AppContext
from app.errors import ConflictError, NotFoundError
from app.models import ApiKey
from app.models.base import new_id, utc_now
from app.schemas import api_key as schemas
from app.schemas.common import Page
from app.schemas.limits import Limits
from app.schemas.scopes import SCOPES
from app.services.key_ring import BRAND, TOPIC, digest
from app.services.pages import fetch_page
from app.services.products import hold_products

ALPHABET = string.ascii_letters + string.digits
PREFIX_LENGTH = 8
SECRET_LENGTH = 43
"""256 bits."""


def create_key(context: AppContext, request: schemas.ApiKeyCreate) -> schemas.NewApiKey:
    """Makes a key; its secret is in this answer alone.

    Raises ConflictError for the first one without LOUPE_API_KEY: it would lock out everybody who has none.
    """
    secret = _new_secret()
    with context.db.write() as session:
        if session.scalar(select(ApiKey.id).limit(1)) is None:
            _require_first_key(context, "With a first key, this server would ask everybody for one")
        hold_products(session, request.products or ())
        key = ApiKey(
            id=new_id("key"),
            name=request.name,
            prefix=_new_prefix(session),
            secret_sha256=digest(secret).hex(),
            scopes=[scope for scope in SCOPES if scope in request.scopes],
            products=None if request.products is None else sorted(set(request.products)),
            expires_at=request.expires_at,
            limits=request.limits.model_dump(exclude_none=True) if request.limits else None,
        )
        session.add(key)
        session.flush()
        note_change(session, TOPIC)
        answer = _with_secret(key, secret)
    context.changes.look_after_a_change()
    return answer


def list_keys(context: AppContext, *, limit: int, after: str | None) -> Page[schemas.ApiKey]:
    with context.db.read() as session:
        return fetch_page(session, select(ApiKey), ApiKey.id, _to_schema, limit=limit, after=after)


def get_key(context: AppContext, key_id: str) -> schemas.ApiKey:
    with context.db.read() as session:
        return _to_schema(_require_key(session, key_id))


def change_key(context: AppContext, key_id: str, request: schemas.ApiKeyUpdate) -> schemas.ApiKey:
    """Sets limits of a key."""
    with context.db.write() as session:
        key = _require_key(session, key_id, is_locked=True)
        changed = {**(key.limits or {}), **request.limits.model_dump(exclude_unset=True)}
        key.limits = {name: value for name, value in changed.items() if value is not None}
        session.flush()
        note_change(session, TOPIC)
        answer = _to_schema(key)
    context.changes.look_after_a_change()
    return answer


def rotate_key(context: AppContext, key_id: str, request: schemas.ApiKeyRotate) -> schemas.NewApiKey:
    """Gives a key a new secret; the one before goes on for a while, and one before that ends."""
    secret = _new_secret()
    with context.db.write() as session:
        key = _require_key(session, key_id, is_locked=True)
        now = utc_now()
        key.previous_sha256 = key.secret_sha256
        key.previous_until = now + timedelta(seconds=request.overlap_seconds)
        key.secret_sha256, key.rotated_at = digest(secret).hex(), now
        session.flush()
        note_change(session, TOPIC)
        answer = _with_secret(key, secret)
    context.changes.look_after_a_change()
    return answer


def delete_key(context: AppContext, key_id: str) -> None:
    """Revokes a key, and with it the sessions that it opened.

    Raises ConflictError for the last one without LOUPE_API_KEY: then nobody would be asked for a key.
    """
    with context.db.write() as session:
        # Locked in one order: of two requests for the last two, the second finds one.
        ids = session.scalars(select(ApiKey.id).order_by(ApiKey.id).with_for_update()).all()
        key = _require_key(session, key_id)
        if len(ids) == 1:
            _require_first_key(context, "Without its last key, this server would ask nobody for one")
        session.delete(key)
        note_change(session, TOPIC)
    context.changes.look_after_a_change()


def unbind_product(session: Session, product_id: str) -> None:
    """Takes a product that is deleted from the keys that are bound to it: another may get its id."""
    # Held: another deletion may be taking a product from the same list.
    keys = session.scalars(select(ApiKey).order_by(ApiKey.id).with_for_update())
    bound = [key for key in keys if product_id in (key.products or ())]
    for key in bound:
        key.products = [one for one in key.products or () if one != product_id]
    if bound:
        note_change(session, TOPIC)


def _require_first_key(context: AppContext, reason: str) -> None:
    if context.settings.api_key is None:
        raise ConflictError(
            f"{reason}, and LOUPE_API_KEY is not set.",
            hint="Start the server with LOUPE_API_KEY set to a long random text (`openssl rand -hex 32`), "
            "then send the request again with that key.",
        )


def _require_key(session: Session, key_id: str, *, is_locked: bool = False) -> ApiKey:
    key = session.get(ApiKey, key_id, with_for_update=is_locked or None)
    if key is None:
        raise NotFoundError(f"There is no key {key_id!r}.", hint="`GET /api-keys` lists them.")
    return key


def _new_secret() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))


def _new_prefix(session: Session) -> str:
    while True:
        prefix = "".join(secrets.choice(ALPHABET) for _ in range(PREFIX_LENGTH))
        if session.scalar(select(ApiKey.id).where(ApiKey.prefix == prefix)) is None:
            return prefix


def _with_secret(key: ApiKey, secret: str) -> schemas.NewApiKey:
    return schemas.NewApiKey(**dict(_to_schema(key)), key=f"{BRAND}_{key.prefix}_{secret}")


def _to_schema(key: ApiKey) -> schemas.ApiKey:
    return schemas.ApiKey(
        id=key.id,
        name=key.name,
        prefix=f"{BRAND}_{key.prefix}",
        scopes=key.scopes,
        products=key.products,
        created_at=key.created_at,
        limits=Limits(**(key.limits or {})),
        expires_at=key.expires_at,
        last_used_at=key.last_used_at,
        rotated_at=key.rotated_at,
        previous_until=key.previous_until,
    )
