"""Loupe behind a proxy: who the client is, and under which path prefix it sees Loupe."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.config import Settings, is_path_prefix
from app.host.addresses import TrustedProxies, parse_address

MOST_HOPS = 32
SCHEMES = ("http", "https")
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::([0-9]{1,5}))?|([0-9.]+):([0-9]{1,5})")


class ProxyMiddleware:
    """Makes the request what it was before the proxy, for everything inside.

    The scope's ``root_path`` is the prefix, and its ``path`` begins with that, whether the proxy stripped it
    or not.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._prefix = settings.root_path
        self._trusted = TrustedProxies(settings.resolved_trusted_proxies)

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
            if self._comes_from_proxy(scope):
                self._look_behind_proxy(scope)
        await self._app(scope, receive, send)

    def _comes_from_proxy(self, scope: Scope) -> bool:
        client = scope.get("client")
        return client is not None and client[0] in self._trusted

    def _look_behind_proxy(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        scheme = headers.getlist("x-forwarded-proto")[-1:]
        if scheme and scheme[0].strip() in SCHEMES:
            scope["scheme"] = scheme[0].strip()
        hops = ",".join(headers.getlist("x-forwarded-for")).rsplit(",", MOST_HOPS)[-MOST_HOPS:]
        if (client := self._find_client(hops)) is not None:
            scope["client"] = client

    def _find_client(self, hops: list[str]) -> tuple[str, int] | None:
        """The last hop that no trusted proxy is. Each proxy adds whom it was asked by, so what stands before
        that is only what a client wrote, and so is all that is no address: it would reach the log.
        """
        found = None
        for hop in hops if self._trusted.is_any else reversed(hops):
            client = _parse_hop(hop.strip())
            if client is None:
                break
            found = client
            if self._trusted.is_any or client[0] not in self._trusted:
                break
        return found

    def _forwarded_prefix(self, scope: Scope) -> str:
        prefix = self._forwarded(scope, "x-forwarded-prefix").rstrip("/")
        return prefix if is_path_prefix(prefix) else ""

    def _forwarded(self, scope: Scope, header: str) -> str:
        """What a trusted proxy says in a header; nothing where another client says it, or two do."""
        if not self._comes_from_proxy(scope):
            return ""
        given = Headers(scope=scope).getlist(header)
        return given[0].strip() if len(given) == 1 else ""


def _parse_hop(text: str) -> tuple[str, int] | None:
    """An address, maybe with a port. None for ``unknown``, for names, and for what nobody should write."""
    match = _WITH_PORT.fullmatch(text)
    host, port = ((match[1] or match[3]), int(match[2] or match[4] or 0)) if match else (text, 0)
    address = parse_address(host)
    return (str(address), port) if address is not None else None


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
