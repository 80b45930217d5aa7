"""Shapes that every resource uses: problem documents, pages, identifiers, times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer

from app.schemas.numbers import Numbers

T = TypeVar("T")


def _rfc3339(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


Timestamp = Annotated[datetime, PlainSerializer(_rfc3339, return_type=str, when_used="json")]

Slug = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?$",
        description="Lower-case letters, digits, '-', '_' and '.', 1 to 63 characters.",
        examples=["steel-strip"],
    ),
]


class Request(Numbers):
    """Base of request bodies: a field that does not exist is an error, not ignored."""

    model_config = ConfigDict(extra="forbid")


class ProblemItem(BaseModel):
    """One invalid part of a request."""

    pointer: str = Field(description="JSON pointer into the body, or the name of a parameter or file.")
    message: str


class Problem(BaseModel):
    """An error (RFC 9457). The same shape on every path, and on a failed job."""

    type: str = Field(description="Stable identifier of the kind of error.", examples=["/problems/not_found"])
    title: str
    status: int
    detail: str
    instance: str | None = Field(None, description="Path of the request, or id of the job.")
    code: str = Field(description="The kind of error, for programs.", examples=["not_found"])
    errors: list[ProblemItem] = Field(default_factory=list)
    hint: str | None = Field(None, description="What to do about it.")
    retryable: bool = Field(False, description="Whether the same request can succeed later without a change.")
    request_id: str | None = None


class Page(BaseModel, Generic[T]):
    """One page of a list, newest first."""

    data: list[T]
    has_more: bool
    next_cursor: str | None = Field(None, description="Give it as `after` to get the next page.")


MOST_TEXT = 4000
"""Characters of a problem's detail or hint."""


def problem_from_error(error: dict[str, Any], instance: str | None = None) -> Problem:
    """The problem document of an error kept as plain data (``LoupeError.as_dict``).

    What a client wrote may stand in its texts: they are cut where no sentence of ours ends.
    """
    for name in ("detail", "hint"):
        text = error.get(name)
        if isinstance(text, str) and len(text) > MOST_TEXT:
            error = {**error, name: f"{text[:MOST_TEXT]}…"}
    return Problem(type=f"/problems/{error['code']}", instance=instance, **error)


class Estimate(BaseModel):
    """A value with its 95 % confidence interval."""

    value: float
    low: float
    high: float
