"""A request's path as all others look at it: without its version, and without control characters."""

from __future__ import annotations

import re

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send

VERSION = "/v1"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class PathMiddleware:
    """``/v1/jobs`` is ``/jobs``: clients may say the version, and there is one.

    A control character becomes one that is in no path of ours. Starlette's patterns end before a last
    newline, others do not, and ``/predict%0A`` would be a route without its limits.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = get_route_path(scope)
            if path.startswith(f"{VERSION}/"):
                scope["path"] = scope.get("root_path", "") + path.removeprefix(VERSION)
            if not scope["path"].isprintable():
                scope["path"] = _CONTROL.sub("\N{REPLACEMENT CHARACTER}", scope["path"])
        await self._app(scope, receive, send)
