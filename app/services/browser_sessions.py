"""Browser sessions: a key becomes a cookie, on every process, until sign-out, its end or the key's."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.changes import note_change
from app.context import AppContext
from app.models import ApiKey, BrowserSession
from app.models.base import utc_now
from app.schemas import api_key as schemas
from app.schemas.caller import Caller
from app.schemas.scopes import SCOPES
from app.services.key_ring import TOPIC, KeyRing, hash_token, prove, unauthorized

SESSION_SECONDS = 12 * 3600
MAX_SESSIONS = 100
"""Of one key; the oldest end first."""


@dataclass(frozen=True)
class OpenedSession:
    """``token``: what the cookie holds."""

    token: str
    session: schemas.Session


def open_session(context: AppContext, ring: KeyRing, key: str) -> OpenedSession:
    """Opens a session for who shows ``key``. Raises UnauthorizedError."""
    caller, secret = ring.find_key(key.strip().encode())
    context = context.on_behalf_of(caller)
    token = secrets.token_urlsafe(32)
    now = utc_now()
    row = BrowserSession(
        token_sha256=hash_token(token),
        key_id=caller.key_id,
        proof=prove(token, secret),
        expires_at=now + timedelta(seconds=SESSION_SECONDS),
    )
    with context.db.write() as session:
        if caller.key_id is not None:
            # Held: it is not deleted before its session is there.
            held = session.get(ApiKey, caller.key_id, with_for_update={"read": True})
            if held is None:
                raise unauthorized()
        _make_room(session, caller.key_id)
        session.add(row)
        note_change(session, TOPIC)
    context.changes.look_after_a_change()
    return OpenedSession(
        token,
        _describe(caller, row.expires_at),
    )


def get_session(context: AppContext, caller: Caller, token: str | None) -> schemas.Session:
    """Who ``caller`` is; ``token``: that of the cookie by which they were found, None if by none."""
    with context.db.read() as session:
        row = None if token is None else session.get(BrowserSession, hash_token(token))
    return _describe(caller, None if row is None else row.expires_at)


def _describe(caller: Caller, expires_at: datetime | None) -> schemas.Session:
    return schemas.Session(
        name=caller.name,
        scopes=[scope for scope in SCOPES if scope in caller.scopes],
        products=None if caller.products is None else sorted(caller.products),
        expires_at=expires_at,
    )


def close_session(context: AppContext, token: str) -> None:
    """Ends a session, on every process; one that is not there has ended already."""
    with context.db.read() as session:
        if session.get(BrowserSession, hash_token(token)) is None:
            return
    with context.db.write() as session:
        session.execute(delete(BrowserSession).where(BrowserSession.token_sha256 == hash_token(token)))
        note_change(session, TOPIC)
    context.changes.look_after_a_change()


def _make_room(session: Session, key_id: str | None) -> None:
    """Forgets sessions that are over, and the oldest of a key that has many."""
    of_key = BrowserSession.key_id.is_not_distinct_from(key_id)
    newest = (
        select(BrowserSession.token_sha256)
        .where(of_key)
        .order_by(BrowserSession.created_at.desc())
        .limit(MAX_SESSIONS - 1)
    )
    kept = session.scalars(newest).all()
    for unneeded in (
        BrowserSession.expires_at <= utc_now(),
        of_key & BrowserSession.token_sha256.not_in(kept),
    ):
        session.execute(delete(BrowserSession).where(unneeded))
