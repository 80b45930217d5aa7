"""Fields that may stand in the query or in the body."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import Request

from app.errors import FieldError, InvalidRequestError


def merge_choices(request: Request, names: Iterable[str], fields: Mapping[str, Any]) -> dict[str, str]:
    """The values of both places; an empty one is none. Raises InvalidRequestError where they differ."""
    merged = {}
    for name in names:
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
