"""Creating requests that can be repeated: the same key and body get the first answer again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import IdempotencyMismatchError
from app.models import IdempotencyKey


@dataclass(frozen=True)
class IdempotentRequest:
    """A creating request's key, the route it was sent to, and the digest of its body."""

    scope: str
    key: str
    body_sha256: str

    @classmethod
    def of(cls, scope: str, key: str | None, body: bytes) -> IdempotentRequest | None:
        """None when the client sent no key."""
        return cls(scope, key, hashlib.sha256(body).hexdigest()) if key else None


@dataclass(frozen=True)
class Answer:
    """What a creating request is answered with."""

    body: dict[str, Any]
    location: str | None


def recall(session: Session, request: IdempotentRequest | None) -> Answer | None:
    """The answer given before, if any. Call first in the transaction that would create.

    Two requests with one key at the same time are put in a row here: SQLite has one writer anyway.
    """
    if request is None:
        return None
    if session.get_bind().dialect.name == "postgresql":
        name = f"{request.scope}\n{request.key}"
        session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(name, 0))))
    row = session.get(IdempotencyKey, (request.scope, request.key))
    if row is None:
        return None
    if row.body_sha256 != request.body_sha256:
        raise IdempotencyMismatchError(
            f"The key {request.key!r} was used before with another body.",
            hint="Use a new Idempotency-Key for a new request.",
        )
    return Answer(row.answer, row.location)


def remember(session: Session, request: IdempotentRequest | None, status: int, answer: Answer) -> None:
    """Keeps the answer, in the transaction that creates what it speaks of."""
    if request is not None:
        session.add(
            IdempotencyKey(
                scope=request.scope,
                key=request.key,
                body_sha256=request.body_sha256,
                status=status,
                location=answer.location,
                answer=answer.body,
            )
        )
