"""What the protocol answers itself, before any application is asked: the bounds, the errors, their bytes."""

from __future__ import annotations

import json

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from app.errors import (
    HeadTooLargeError,
    LoupeError,
    MalformedRequestError,
    SlowRequestError,
    TooManyConnectionsError,
)
from app.schemas.common import problem_from_error

MAX_HEAD_BYTES = 64 * 2**10
MAX_HEADERS = 200
LEAST_BYTES_A_SECOND = 1000


def head_too_large() -> LoupeError:
    return HeadTooLargeError(
        f"The head of a request may have {MAX_HEAD_BYTES:,} bytes and {MAX_HEADERS} headers.",
        hint="Send what is long in the body.",
    )


def malformed_request(detail: str = "This is no HTTP request that can be read.") -> LoupeError:
    return MalformedRequestError(
        detail, hint="Loupe speaks HTTP/1.1. TLS and HTTP/2 are for a proxy before it: docs/deploy.md."
    )


def slow_request() -> LoupeError:
    return SlowRequestError(
        f"The request came too slowly: a body needs {LEAST_BYTES_A_SECOND:,} bytes a second.",
        hint="Send it again, or raise LOUPE_SLOW_SECONDS on the server.",
    )


def too_many_connections() -> LoupeError:
    return TooManyConnectionsError(
        "As many connections are open as may be.",
        hint="Close some, use one for several requests, or raise LOUPE_MAX_CONNECTIONS and "
        "LOUPE_MAX_CONNECTIONS_PER_CLIENT on the server.",
    )


def in_bytes(error: LoupeError, default_headers: list[tuple[bytes, bytes]]) -> bytes:
    """The whole answer; the connection ends after it."""
    body = json.dumps(problem_from_error(error.as_dict()).model_dump(mode="json")).encode("utf-8")
    headers = [
        *default_headers,
        *([(b"retry-after", b"2")] if error.retryable else []),
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode("ascii")),
        (b"connection", b"close"),
    ]
    lines = [name + b": " + value + b"\r\n" for name, value in headers]
    return b"".join([STATUS_LINE[error.status], *lines, b"\r\n", body])
