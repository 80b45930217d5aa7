"""Which hosts are answered, which web pages may ask or change something, and what they may see of the answer.

A page can send requests to every address that its reader's browser reaches, loopback included. Without an API
key nothing else would stop it: neither a form that it posts here, nor a name of its own that it points here.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request, cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.auth import COOKIE
from app.api.problems import problem_response
from app.config import Settings
from app.errors import ForeignHostError, ForeignSiteError, LoupeError
from app.host.addresses import is_loopback, matches_host

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
OWN_SITES = ("same-origin", "none")
"""What ``Sec-Fetch-Site`` says of Loupe's own pages, and of what a person asked for without a page."""
OTHER_SITES = ("cross-site", "same-site")
EMBEDDED = ("object", "embed")
"""What ``Sec-Fetch-Dest`` says of elements that navigate, and tell their page whether that failed."""
HOST = re.compile(r"(?:\[([0-9a-f:.]+)\]|([^\s:@/\[\]]+))(?::[0-9]{0,5})?")
DEFAULT_PORTS = {"http": 80, "https": 443}


class SitesMiddleware:
    """Refuses a request for a foreign host or of a foreign page, before its body is read."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = self._find_error(scope) if scope["type"] == "http" else None
        if error is None:
            await self._app(scope, receive, send)
            return
        await problem_response(Request(scope), error)(scope, receive, send)

    def _find_error(self, scope: Scope) -> LoupeError | None:
        headers = Headers(scope=scope)
        for host in headers.getlist("host"):
            if not self._is_answered(host):
                return _foreign_host(host)
        if scope["method"] not in SAFE_METHODS and not self._may_write(scope, headers):
            return _foreign_site(headers)
        if scope["method"] in ("GET", "HEAD") and not self._may_ask(headers):
            return _foreign_question()
        return None

    def _may_ask(self, headers: Headers) -> bool:
        """A page that sees no answer still sees whether an image or a script of it could be loaded."""
        if self._settings.cors_origins or headers.get("sec-fetch-site") not in OTHER_SITES:
            return True
        # A link that a person follows.
        return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") not in EMBEDDED

    def _is_answered(self, host: str) -> bool:
        allowed = self._settings.allowed_hosts
        # Without a name it is no browser: a load balancer that speaks HTTP/1.0 sends none.
        if not host or "*" in allowed or (not allowed and self._settings.api_key is not None):
            return True
        found = HOST.fullmatch(host.lower())
        name = (found[1] or found[2]) if found else ""
        return is_loopback(name) or any(matches_host(name, pattern) for pattern in allowed)

    def _may_write(self, scope: Scope, headers: Headers) -> bool:
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if _shows_cookie(headers):
            # A browser sends it along for pages of other ports too, which are of the same site to it.
            return site == "same-origin" or (origin is not None and _is_own_origin(scope, headers, origin))
        if "*" in self._settings.cors_origins or site == "same-origin":
            return True
        if origin is None:
            return site is None or site in OWN_SITES
        return origin.lower() in self._settings.cors_origins or _is_own_origin(scope, headers, origin)


class IsolationMiddleware:
    """Lets browsers keep every answer from pages of other origins, and take none for what it is not."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._headers = {"X-Content-Type-Options": "nosniff"}
        if not settings.cors_origins:
            self._headers["Cross-Origin-Resource-Policy"] = "same-origin"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_isolated(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        await self._app(scope, receive, send_isolated)


def _shows_cookie(headers: Headers) -> bool:
    """Whether the session of a browser says who asks; a page of another site cannot send the header."""
    # All of them, as whoever reads the session does: HTTP/2 and proxies send the cookies in several headers.
    return "authorization" not in headers and COOKIE in cookie_parser("; ".join(headers.getlist("cookie")))


def _is_own_origin(scope: Scope, headers: Headers, origin: str) -> bool:
    """Whether a page of ``origin`` came from the host that the client addressed, maybe through a proxy."""
    hosts = [headers.get("host", ""), scope.get("state", {}).get("forwarded_host", "")]
    return any(_normal(origin) == _normal(f"{scope['scheme']}://{host}") for host in hosts if host)


def _normal(origin: str) -> tuple[str, str | None, int | None] | None:
    try:
        parts = urlsplit(origin.lower())
        return parts.scheme, parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None


def _foreign_host(host: str) -> ForeignHostError:
    return ForeignHostError(
        f"This server does not answer for the host {host[:100]!r}.",
        hint="Without an API key it answers 127.0.0.1, localhost and [::1] alone. Set LOUPE_API_KEY, or name "
        "the host in LOUPE_ALLOWED_HOSTS.",
    )


def _foreign_site(headers: Headers) -> ForeignSiteError:
    page = headers.get("origin", "another site")[:100]
    hint = "If the page is yours, name its origin in LOUPE_CORS_ORIGINS."
    if _shows_cookie(headers):
        hint = (
            "With the session of a browser, only a page of this server may. A program sends its key instead."
        )
    return ForeignSiteError(f"A web page of {page} may not change anything here.", hint=hint)


def _foreign_question() -> ForeignSiteError:
    return ForeignSiteError(
        "A web page of another site may not ask anything here.",
        hint="If the page is yours, name its origin in LOUPE_CORS_ORIGINS.",
    )
