"""What wraps every request: its measuring, its id, and a limit on its body whatever the client claims."""

from __future__ import annotations

import logging
import re
import time

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from ulid import ULID

from app.api.measurements import Measurements
from app.api.prediction_routes import is_image_path
from app.api.problems import BodyRefusedError, internal_error
from app.api.routes import JSON, media_type_of
from app.config import Settings
from app.errors import TooLargeError
from app.logs import log_context

logger = logging.getLogger(__name__)

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
PIECE_PATH = re.compile(r"/uploads/[^/]+/?")
UPLOAD_PATH = re.compile(r"(/products/[^/]+/(datasets|models)|/predictions)/?")
# Boundaries and part headers come on top of the files themselves.
MULTIPART_OVERHEAD_BYTES = 2**20


class RequestIdMiddleware:
    """Gives each request an id, or keeps the client's ``X-Request-Id``, and returns it.

    The last resort too: Starlette answers an unexpected error outside of all middleware, without the id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if re.fullmatch(r"[\w.:-]{1,128}", given) else f"req_{str(ULID()).lower()}"
        scope.setdefault("state", {})["request_id"] = request_id

        has_started = False

        async def send_with_id(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start":
                has_started = True
                MutableHeaders(scope=message)["X-Request-Id"] = request_id
            await send(message)

        with log_context(request_id=request_id):
            try:
                await self._app(scope, receive, send_with_id)
            except ClientDisconnect:
                # Nobody is there to read an answer, and nothing of ours is wrong.
                logger.info(
                    "%s %s: the client left before its request was read", scope["method"], scope["path"]
                )
            except Exception as error:
                if has_started:
                    raise
                await internal_error(Request(scope), error)(scope, receive, send_with_id)


class BodyLimitMiddleware:
    """Refuses with 413 a body over the route's limit, by its declared length or as soon as it grows past it.

    Not before the route begins to read: by then it knows who sends it, and the refusal is recorded as theirs.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit(scope)
        declared = Headers(scope=scope).get("content-length", "")
        is_too_large = declared.isdigit() and int(declared) > limit
        scope["state"]["is_body_too_large"] = is_too_large
        await self._app(scope, _refuse(limit) if is_too_large else _count(receive, limit), send)

    def _limit(self, scope: Scope) -> int:
        """JSON is held in memory as a whole, so it has its own limit also where archives are received."""
        path = get_route_path(scope)
        if scope["method"] == "PATCH" and PIECE_PATH.fullmatch(path):
            return self._settings.max_upload_bytes
        if scope["method"] != "POST":
            return self._settings.max_json_bytes
        if UPLOAD_PATH.fullmatch(path) and media_type_of(Request(scope)) != JSON:
            return self._settings.max_upload_bytes + MULTIPART_OVERHEAD_BYTES
        if is_image_path(path):
            return self._settings.max_predict_bytes + MULTIPART_OVERHEAD_BYTES
        return self._settings.max_json_bytes


def _refuse(limit: int) -> Receive:
    async def receive_nothing() -> Message:
        raise BodyRefusedError(_too_large(limit))

    return receive_nothing


def _count(receive: Receive, limit: int) -> Receive:
    seen = 0

    async def receive_counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise BodyRefusedError(_too_large(limit))
        return message

    return receive_counted


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"The body is larger than the {limit:,} bytes allowed here.",
        hint="Send less, or raise LOUPE_MAX_UPLOAD_BYTES, LOUPE_MAX_PREDICT_BYTES or, for JSON, "
        "LOUPE_MAX_JSON_BYTES on the server.",
    )


class MeasuringMiddleware:
    """Measures every request; the outermost, so that it sees what the others answer."""

    def __init__(self, app: ASGIApp, measurements: Measurements) -> None:
        self._app = app
        self._measurements = measurements

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()

        async def send_measured(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._measure(scope, message["status"], time.perf_counter() - began)
            await send(message)

        await self._app(scope, receive, send_measured)

    def _measure(self, scope: Scope, status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._measurements.requests.labels(method, _route(scope), str(status)).observe(seconds)
        code = scope.get("state", {}).get("error_code")
        if code is not None:
            self._measurements.errors.labels(code).inc()


def _route(scope: Scope) -> str:
    """The template, such as ``/jobs/{job}``: paths themselves would be a series each."""
    path: str = getattr(scope.get("route"), "path", "")
    return path or "unmatched"
