"""``/v1/jobs`` is ``/jobs``: clients may say the version, and there is one."""

from __future__ import annotations

from starlette._utils import get_route_path
from starlette.types import ASGIApp, Receive, Scope, Send

PREFIX = "/v1"


class VersionMiddleware:
    """Takes the version out of a request's path, for everything inside."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = get_route_path(scope)
            if path.startswith(f"{PREFIX}/"):
                scope["path"] = scope.get("root_path", "") + path.removeprefix(PREFIX)
        await self._app(scope, receive, send)
