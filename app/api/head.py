"""HEAD: what GET answers, without the body and without what makes the body."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class _AnsweredError(Exception):
    """Ends a GET whose status and headers have been sent."""


class HeadMiddleware:
    """Runs a HEAD as the GET of its path, up to its headers: no stream is followed, no file is read."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The server and the middleware around this one look at the method to treat the answer.
                scope["method"] = "HEAD"
                await send(message)
                await send({"type": "http.response.body", "body": b""})
                raise _AnsweredError

        scope["method"] = "GET"
        try:
            await self._app(scope, receive, send_head)
        except _AnsweredError:
            pass
        finally:
            scope["method"] = "HEAD"
