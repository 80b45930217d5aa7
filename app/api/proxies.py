"""Loupe behind a proxy: who the client is, and under which path prefix it sees Loupe."""

from __future__ import annotations

from typing import cast
from urllib.parse import urlsplit, urlunsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn._types import ASGI3Application
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from app.config import Settings, is_path_prefix


class ProxyMiddleware:
    """Makes the request what it was before the proxy, for everything inside.

    The scope's ``root_path`` is the prefix, and its ``path`` begins with that, whether the proxy stripped it
    or not.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._prefix = settings.root_path
        # uvicorn would put it outside of this one, which then could not see the proxy's address.
        self._app = ProxyHeadersMiddleware(cast(ASGI3Application, app), settings.resolved_trusted_proxies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope.setdefault("state", {})["forwarded_host"] = self._forwarded(scope, "x-forwarded-host")
            prefix = self._prefix or self._forwarded_prefix(scope)
            path: str = scope["path"]
            if prefix and path.startswith("/"):
                has_prefix = path == prefix or path.startswith(f"{prefix}/")
                scope["root_path"] = prefix
                scope["path"] = path if has_prefix else prefix + path
            send = _with_prefix(send, prefix)
        await self._app(scope, receive, send)  # type: ignore[arg-type]

    def _forwarded_prefix(self, scope: Scope) -> str:
        prefix = self._forwarded(scope, "x-forwarded-prefix").rstrip("/")
        return prefix if is_path_prefix(prefix) else ""

    def _forwarded(self, scope: Scope, header: str) -> str:
        """What a trusted proxy says in a header; nothing where another client says it, or two do."""
        client = scope.get("client")
        if client is None or client[0] not in self._app.trusted_hosts:
            return ""
        given = Headers(scope=scope).getlist(header)
        return given[0].strip() if len(given) == 1 else ""


def _with_prefix(send: Send, prefix: str) -> Send:
    """Sends what Loupe calls ``/jobs/…`` as the client of the proxy has to call it."""

    async def send_with_prefix(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            location = headers.get("location", "")
            url = urlsplit(location)
            if url.netloc and not url.path.startswith("//"):
                # A redirect to another spelling of a path, with the prefix and with the host that the proxy
                # named, which need not be the one that the client knows.
                headers["location"] = urlunsplit(("", "", url.path, url.query, ""))
            elif location.startswith("/"):
                headers["location"] = prefix + location
        await send(message)

    return send_with_prefix
