"""Fields that may stand in the query or in the body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import Request

from app.errors import FieldError, InvalidRequestError

MOST_CHARACTERS = 1000
"""Of one value: longer than every name, path and setting that can be meant, and kept in memory by some."""


def merge_choices(request: Request, names: Iterable[str], fields: Mapping[str, Any]) -> dict[str, str]:
    """The values of both places; an empty one is none. Raises InvalidRequestError where they differ."""
    merged = {}
    for name in names:
        for place in (request.query_params, fields):
            _check_length(name, place.get(name))
        in_query, in_body = request.query_params.get(name) or None, fields.get(name) or None
        if in_query and in_body and in_query != in_body:
            raise InvalidRequestError(
                f"{name} is {in_body[:100]!r} in the body and {in_query[:100]!r} in the query.",
                hint="Send it in one place.",
                errors=(FieldError(name, "the body and the query differ"),),
            )
        if value := in_body or in_query:
            merged[name] = value
    return merged


def _check_length(name: str, value: Any) -> None:
    if isinstance(value, str) and len(value) > MOST_CHARACTERS:
        message = f"has {len(value):,} characters; it may have {MOST_CHARACTERS:,}"
        raise InvalidRequestError(f"{name} {message}.", errors=(FieldError(name, message),))
