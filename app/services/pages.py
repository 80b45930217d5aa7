"""Cursor lists: newest first, by sortable id."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.errors import FieldError, InvalidRequestError
from app.schemas.common import Page

R = TypeVar("R")
S = TypeVar("S")


def fetch_page(
    session: Session,
    query: Select[R],
    key: InstrumentedAttribute[str],
    to_schema: Callable[[R], S],
    *,
    limit: int,
    after: str | None,
) -> Page[S]:
    """The rows of ``query`` before the cursor ``after``, ordered by ``key`` descending."""
    if after is not None:
        query = query.where(key < decode_cursor(after))
    rows = session.scalars(query.order_by(key.desc()).limit(limit + 1)).all()
    shown = rows[:limit]
    has_more = len(rows) > limit
    cursor = encode_cursor(getattr(shown[-1], key.key)) if has_more else None
    return Page[Any](data=[to_schema(row) for row in shown], has_more=has_more, next_cursor=cursor)


def encode_cursor(value: str) -> str:
    return base64.urlsafe_b64encode(value.encode()).decode().rstrip("=")


def decode_offset(cursor: str | None) -> int:
    """How many entries of a list lie before the page; raises InvalidRequestError for a foreign cursor."""
    if cursor is None:
        return 0
    value = decode_cursor(cursor)
    if not (value.isascii() and value.isdigit() and len(value) < 10):
        raise not_a_cursor()
    return int(value)


def decode_cursor(cursor: str) -> str:
    """The inverse of ``encode_cursor``; raises InvalidRequestError for what it did not make."""
    try:
        value = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
        if "\0" in value:  # which PostgreSQL refuses
            raise ValueError("a NUL character")
        return value
    except ValueError as error:  # binascii.Error and UnicodeError are ValueErrors
        raise not_a_cursor() from error


def not_a_cursor() -> InvalidRequestError:
    """What is answered to a cursor that leads nowhere."""
    return InvalidRequestError(
        "The cursor is not one that this server gave.",
        hint="Pass `next_cursor` of the page before as it is.",
        errors=(FieldError("after", "not a cursor"),),
    )
