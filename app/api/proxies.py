"""Loupe behind a proxy: who the client is, and under which path prefix it sees Loupe."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.config import Settings, is_path_prefix
from app.host.addresses import TrustedProxies, parse_address

Forwarded = dict[bytes, list[str]]
FORWARDED = b"x-forwarded-"
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
            forwarded = self._forwarded(scope)
            scope.setdefault("state", {})["forwarded_host"] = _only(forwarded, b"host")
            prefix = self._prefix or _prefix_of(forwarded)
            path: str = scope["path"]
            if prefix and path.startswith("/"):
                has_prefix = path == prefix or path.startswith(f"{prefix}/")
                scope["root_path"] = prefix
                scope["path"] = path if has_prefix else prefix + path
            send = _with_prefix(send, prefix)
            if forwarded:
                self._look_behind_proxy(scope, forwarded)
        await self._app(scope, receive, send)

    def _forwarded(self, scope: Scope) -> Forwarded:
        """What a trusted proxy says of the request before it, by the name behind ``X-Forwarded-``."""
        client = scope.get("client")
        if client is None or client[0] not in self._trusted:
            return {}
        forwarded: Forwarded = {}
        for name, value in scope["headers"]:
            if name.startswith(FORWARDED):
                forwarded.setdefault(name[len(FORWARDED) :], []).append(value.decode("latin-1").strip())
        return forwarded

    def _look_behind_proxy(self, scope: Scope, forwarded: Forwarded) -> None:
        scheme = forwarded.get(b"proto", [""])[-1]
        if scheme in SCHEMES:
            scope["scheme"] = scheme
        hops = ",".join(forwarded.get(b"for", ())).rsplit(",", MOST_HOPS)[-MOST_HOPS:]
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


def _only(forwarded: Forwarded, name: bytes) -> str:
    """Nothing where two say it: one of them is no proxy."""
    given = forwarded.get(name, ())
    return given[0] if len(given) == 1 else ""


def _prefix_of(forwarded: Forwarded) -> str:
    prefix = _only(forwarded, b"prefix").rstrip("/")
    return prefix if is_path_prefix(prefix) else ""


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
