"""Which requests are recorded: those that change something, and those that were not allowed.

Reads and predictions that were allowed are not: there are millions, and none changes anything.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.prediction_routes import IMAGE_ROUTES
from app.api.sites import SAFE_METHODS
from app.services.audit_trail import Attempt, Trail

NOT_ALLOWED = frozenset({401, 403, 429})
UNRECORDED = frozenset(IMAGE_ROUTES)
"""Routes that change nothing, although their method could."""


class RecordingMiddleware:
    """Begins an attempt for each request, and ends it with the status, before the client sees that."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trail: Trail = scope["app"].state.audit_trail
        attempt = _begin(scope, trail)
        scope["state"]["attempt"] = attempt
        has_started = False

        async def send_recorded(message: Message) -> None:
            nonlocal has_started
            if message["type"] == "http.response.start" and not has_started:
                has_started = True
                _finish(scope, trail, attempt, message["status"])
            await send(message)

        try:
            await self._app(scope, receive, send_recorded)
        except Exception:
            if not has_started:
                _finish(scope, trail, attempt, 500)
            raise


def describe_route(request: Request, path: str, status: int | None) -> None:
    """Says which route a request came to, and what its path names."""
    attempt: Attempt = request.state.attempt
    attempt.action = f"{request.method} {path}"
    attempt.named = tuple(str(value) for value in request.path_params.values())
    attempt.product = request.path_params.get("product")
    attempt.expected = status or 200


def _begin(scope: Scope, trail: Trail) -> Attempt:
    client = scope.get("client")
    return Attempt(
        action=f"{scope['method'][:20]} unmatched",
        address=client[0] if client else None,
        request_id=scope["state"].get("request_id"),
        hide=trail.hide,
    )


def _finish(scope: Scope, trail: Trail, attempt: Attempt, status: int) -> None:
    route = attempt.action.partition(" ")[2]
    is_change = scope["method"] not in SAFE_METHODS and route not in UNRECORDED and route != "unmatched"
    is_recorded = attempt.record is not None or (status in NOT_ALLOWED and status != attempt.expected)
    if is_recorded or is_change:
        trail.finish(attempt, status)
