"""What every route refuses before its function is called: a request that would be read otherwise than meant.

The published document decides what a route takes, so that it cannot promise anything else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import APIRoute

from app.api.auth import COOKIE, identify, note_known_caller
from app.api.limits import admit
from app.api.nearest import no_such
from app.api.recording import describe_route
from app.api.scopes import need_of
from app.api.text import check_json, check_text
from app.errors import (
    FieldError,
    InvalidRequestError,
    UnsupportedEncodingError,
    UnsupportedMediaTypeError,
)

Answer = Callable[[Request], Coroutine[Any, Any, Response]]

JSON = "application/json"
FORM = "multipart/form-data"
_MOST_ERRORS, _MOST_NAME = 20, 200
"""What an answer lists of a query: a head may have thousands of names, and looking for near ones costs."""
LARGE_BYTES = 100_000
"""Of JSON: reading more would hold up the event loop."""
_BY_CURL = {JSON: "curl -H 'Content-Type: application/json' -d '{…}'", FORM: "curl -F file=@FILE"}


PROBLEM = {
    "description": "An error, as a problem document.",
    "headers": {
        "Allow": {"description": "With 405: all methods of the path.", "schema": {"type": "string"}},
        "Retry-After": {"description": "With 429 and 503: seconds to wait.", "schema": {"type": "integer"}},
        "WWW-Authenticate": {"description": "With 401.", "schema": {"type": "string"}},
    },
    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
}
SECURITY_SCHEMES = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "LOUPE_API_KEY, or a key of `POST /api-keys`. Asked for once there is one.",
    },
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "A browser's session, of `POST /session`.",
    },
}


class CheckedRoute(APIRoute):
    """A route that asks who sent it, then checks what was sent, then lets FastAPI read it."""

    checks_query: ClassVar[bool] = True

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        (method,) = options["methods"]
        self.need = need_of(method, path)
        # OpenAPI 3.1 lets any scheme name the roles that are needed.
        roles = [] if self.need is None or self.need.scope is None else [self.need.scope]
        security = [] if self.need is None else [{name: roles} for name in SECURITY_SCHEMES]
        options["openapi_extra"] = {**(options.get("openapi_extra") or {}), "security": security}
        options["responses"] = {"default": PROBLEM, **(options.get("responses") or {})}
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Answer:
        answer = self._get_answer()

        async def checked(request: Request) -> Response:
            describe_route(request, self.path_format, self.status_code)
            # Not by a dependency: FastAPI parses the body before it solves those.
            if self.need is not None:
                request.state.caller = caller = await identify(request, self.need)
                await admit(request, caller, request.method, self.path_format)
                # After it is counted: what a key may not do is a request too.
                self.need.check(caller)
            else:
                note_known_caller(request)
            operation = self._operation(request)
            check_text((name, str(value)) for name, value in request.path_params.items())
            if self.checks_query:
                _check_query(request, operation)
            if "requestBody" in operation:
                await self.check_body(request, operation["requestBody"])
            return await answer(request)

        return checked

    def _get_answer(self) -> Answer:
        return super().get_route_handler()

    async def check_body(self, request: Request, wanted: dict[str, Any]) -> None:
        """Raises LoupeError for a body of a type that the document does not offer, and for bad JSON."""
        await _check_body(request, wanted)

    def _operation(self, request: Request) -> dict[str, Any]:
        operation: dict[str, Any] = request.app.openapi()["paths"][self.path_format][request.method.lower()]
        return operation


class DirectRoute(CheckedRoute):
    """A route whose function takes the request and makes the response, as the document says that it does.

    FastAPI calls each dependency in a thread and validates each answer: a third of a prediction's overhead.
    """

    def _get_answer(self) -> Answer:
        answer: Answer = self.endpoint
        return answer


class ProbeRoute(CheckedRoute):
    """A route for probes: it takes any query, since some add one against caches."""

    checks_query = False


def media_type_of(request: Request) -> str:
    """The content type without its parameters; JSON under any of its names is ``application/json``."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return JSON if media_type.startswith("application/") and media_type.endswith("+json") else media_type


def _check_query(request: Request, operation: dict[str, Any]) -> None:
    known = {
        parameter["name"]: parameter["schema"]
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query"
    }
    given = request.query_params.multi_items()
    check_text(given)
    counts = Counter(name for name, _ in given)
    errors = [
        FieldError(name[:_MOST_NAME], no_such("query parameter", name[:_MOST_NAME], known))
        for name in list(counts)[:_MOST_ERRORS]
        if name not in known
    ]
    errors += [
        FieldError(name, f"given {count} times, takes one value")
        for name, count in counts.items()
        if count > 1 and name in known and known[name].get("type") != "array"
    ]
    if errors:
        raise InvalidRequestError(
            f"{errors[0].pointer}: {errors[0].message}",
            hint="`GET /docs` shows what this route takes.",
            errors=tuple(errors),
        )


def check_encoding(request: Request) -> None:
    """Raises UnsupportedEncodingError for a compressed body."""
    encoding = ", ".join(request.headers.getlist("content-encoding")).strip()
    if encoding.lower() not in ("", "identity"):
        raise UnsupportedEncodingError(
            f"The body has the content encoding {encoding[:100]!r}; bodies are read as they are.",
            hint="Send the body uncompressed, without the header Content-Encoding. A file that is compressed "
            "itself, such as a .tar.gz, needs only its Content-Type.",
        )


async def _check_body(request: Request, wanted: dict[str, Any]) -> None:
    check_encoding(request)
    offered = list(wanted["content"])
    media_type = media_type_of(request)
    is_offered = any(fnmatchcase(media_type, pattern) for pattern in offered)
    if offered == [JSON] and (is_offered or not _declares_body(request)):
        body = await request.body()
        if not body:
            _check_needed(wanted)
            return
    if not media_type or not is_offered:
        raise unsupported(media_type, offered)
    if media_type == JSON:
        body = await request.body()
        if len(body) > LARGE_BYTES:
            await run_in_threadpool(check_json, body)
        else:
            check_json(body)


def _declares_body(request: Request) -> bool:
    """Whether the head alone shows that a body comes; a chunked one may still be empty."""
    return request.headers.get("content-length", "0") != "0"


def _check_needed(wanted: dict[str, Any]) -> None:
    if wanted.get("required"):
        raise InvalidRequestError(
            "The request has no body.",
            hint=f"Send {JSON}: {_BY_CURL[JSON]}. `GET /docs` shows the fields.",
            errors=(FieldError("/", "missing"),),
        )


def unsupported(media_type: str, offered: list[str]) -> UnsupportedMediaTypeError:
    what = "no content type"
    if media_type:
        what = f"the content type {media_type[:100]!r}, which this route does not take"
    forms = [f"{one} ({_BY_CURL[one]})" if one in _BY_CURL else one for one in offered]
    curl = " `curl -d` alone sends a form." if media_type == "application/x-www-form-urlencoded" else ""
    return UnsupportedMediaTypeError(
        f"The body has {what}.",
        hint=f"Send {' or '.join(forms)}.{curl}",
    )
