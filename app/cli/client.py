"""The HTTP API as the commands call it: JSON in and out, and every failure a LoupeError with a hint."""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from app.errors import FieldError, LoupeError
from app.host.retry_after import read_retry_after

if TYPE_CHECKING:
    import httpx2 as httpx

# How long a command that waits for a job puts up with a server that is being started again.
PATIENCE_SECONDS = 60.0
RETRY_SECONDS = 1.0
PAGE_ROWS = 100
AWAY = frozenset({429, 502, 503, 504})

HINTS = {
    "unauthorized": "Set LOUPE_API_KEY to a key of this server: whoever runs it has the first one, and makes "
    "others with `loupe key create`.",
    "forbidden": "Set LOUPE_API_KEY to a key that may do this; `loupe key list` shows what each may do.",
}
"""What to do on the command line, where the server speaks of headers."""


class CommandError(LoupeError):
    """What a command cannot do, found out on this side."""

    code, title = "command_failed", "The command failed"


class UnreachableError(CommandError):
    """No server at the address, or the connection broke."""

    code, title, retryable = "unreachable", "The server cannot be reached", True


class ServerError(LoupeError):
    """A problem document of the server; ``problem`` is all of it, and how long it asks to wait."""

    code: ClassVar[str] = "server_error"

    def __init__(self, problem: Mapping[str, Any], retry_after_seconds: float | None = None) -> None:
        errors = tuple(
            FieldError(entry["pointer"], entry["message"]) for entry in problem.get("errors") or ()
        )
        super().__init__(str(problem["detail"]), hint=problem.get("hint"), errors=errors)
        self.problem, self.retry_after_seconds = problem, retry_after_seconds


def is_away(error: BaseException) -> bool:
    """Whether the server, or a proxy before it, may well answer the same request a little later."""
    if isinstance(error, ServerError):
        return error.problem.get("status") in AWAY or error.problem.get("retryable") is True
    return isinstance(error, UnreachableError)


class Client:
    """One Loupe server. Raises ServerError for its problem documents, UnreachableError without an answer."""

    def __init__(self, server: str) -> None:
        # Here and not above: `loupe --help` need not wait for them.
        import httpx2 as httpx

        from loupe.errors import LoupeError as ClientError
        from loupe.http_requests import Address

        try:
            address = Address.of(server, None, PATIENCE_SECONDS)
        except ClientError as error:
            raise CommandError(error.message, hint=error.hint) from error
        self.server = address.url
        self._http = httpx.Client(**address.options())
        weakref.finalize(self, self._http.close)

    def get(self, path: str, **params: Any) -> Any:
        return self._ask("GET", path, params=params)

    def get_patiently(self, path: str, **params: Any) -> Any:
        """As ``get``, but waits for a server that is away for a moment."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                return self.get(path, **params)
            except LoupeError as error:
                if not is_away(error) or time.monotonic() > deadline:
                    raise
            time.sleep(RETRY_SECONDS)

    def get_text(self, path: str, accept: str, **params: Any) -> str:
        return str(self._send("GET", path, params=params, headers={"Accept": accept}).text)

    def post(self, path: str, body: Any = None, **params: Any) -> Any:
        return self._ask("POST", path, params=params, json={} if body is None else body)

    def put(self, path: str, body: Any) -> Any:
        return self._ask("PUT", path, json=body)

    def patch(self, path: str, body: Any) -> Any:
        return self._ask("PATCH", path, json=body)

    def delete(self, path: str, **params: Any) -> None:
        self._send("DELETE", path, params=params)

    def post_files(
        self, path: str, fields: Mapping[str, str], files: Iterable[tuple[str, bytes]], **params: Any
    ) -> Any:
        """Sends (name, content) pairs as parts ``file`` of a form."""
        parts = [("file", (name, content)) for name, content in files]
        return self._ask("POST", path, params=params, data=dict(fields), files=parts)

    def upload(
        self, path: str, chunks: Iterator[bytes], *, size: int, media_type: str, name: str, **params: Any
    ) -> Any:
        """Streams a body of ``size`` bytes; nothing of it is kept in memory or on the disk."""
        headers = {
            "Content-Type": media_type,
            "Content-Length": str(size),
            "X-Filename": quote(name, safe=" !#$&'()+,;=@[]^`{}~"),
        }
        return self._ask("POST", path, params=params, content=chunks, headers=headers)

    def begin_upload(self, size: int, metadata: str) -> Any:
        """Begins an upload of ``size`` bytes that comes in pieces; ``metadata`` as tus has it."""
        return self._ask(
            "POST", "/uploads", headers={"Upload-Length": str(size), "Upload-Metadata": metadata}
        )

    def append(self, path: str, chunks: Iterator[bytes], *, size: int, offset: int) -> None:
        """Sends the piece of an upload that begins at ``offset`` and has ``size`` bytes."""
        headers = {
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(size),
            "Upload-Offset": str(offset),
        }
        self._send("PATCH", path, content=chunks, headers=headers)

    def list_rows(self, path: str, limit: int, **params: Any) -> dict[str, Any]:
        """The first ``limit`` rows of a list as one page, fetched in as many as that takes."""
        first = page = self.get(path, limit=min(PAGE_ROWS, limit), **params)
        rows: list[Any] = [*page["data"]]
        while page["has_more"] and len(rows) < limit:
            left = min(PAGE_ROWS, limit - len(rows))
            page = self.get(path, limit=left, after=page["next_cursor"], **params)
            rows += page["data"]
        return {**first, "data": rows, "has_more": page["has_more"], "next_cursor": page["next_cursor"]}

    @contextmanager
    def stream(
        self, path: str, *, headers: Mapping[str, str] | None = None, **params: Any
    ) -> Iterator[httpx.Response]:
        """A body that is read while it comes."""
        with (
            self._translated(),
            self._http.stream("GET", path, params=_given(params), headers=dict(headers or {})) as response,
        ):
            if response.is_error:
                response.read()
                raise _as_error(response)
            yield response

    def _send(
        self, method: str, path: str, *, params: dict[str, Any] | None = None, **body: Any
    ) -> httpx.Response:
        with self._translated():
            response = self._http.request(method, path, params=_given(params or {}), **body)
        if response.is_success:
            return response
        raise _as_error(response)

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        response = self._send(method, path, **request)
        try:
            return response.json()
        except ValueError as error:  # a page of a proxy, say
            raise _as_error(response) from error

    @contextmanager
    def _translated(self) -> Iterator[None]:
        import httpx2 as httpx

        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UnreachableError(
                f"No Loupe answers at {self.server}.",
                hint="Start one with `loupe up`, or name another with --server URL or LOUPE_SERVER.",
            ) from error
        except httpx.TimeoutException as error:
            raise UnreachableError(
                f"{self.server} did not answer in time.",
                hint="Try again; the server's log says what it does.",
            ) from error
        except httpx.TransportError as error:
            raise UnreachableError(
                f"The connection to {self.server} was lost: {error or type(error).__name__}.",
                hint="See whether the server still runs, then try again.",
            ) from error


def quoted(part: str) -> str:
    """An id or a name from the command line as one part of a path."""
    if part in ("", ".", ".."):
        raise CommandError(f"{part!r} is not an id.")
    return quote(part, safe="")


def _given(params: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _as_error(response: httpx.Response) -> ServerError:
    retry_after = read_retry_after(response.headers.get("Retry-After"))
    try:
        problem = response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        problem = None
    if isinstance(problem, dict) and "detail" in problem:
        hint = HINTS.get(str(problem.get("code")))
        shown = {"status": response.status_code, **problem, **({"hint": hint} if hint else {})}
        return ServerError(shown, retry_after)
    return ServerError(
        {
            "status": response.status_code,
            "detail": f"{response.request.url} answered {response.status_code} {response.reason_phrase}, "
            "and not as a Loupe does.",
            "hint": "Check --server: the address, and a proxy that may stand before it.",
        },
        retry_after,
    )
