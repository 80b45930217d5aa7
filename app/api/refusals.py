"""Answering a request whose body nobody wants to read, so that the answer also arrives."""

from __future__ import annotations

import anyio
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from app.api.problems import problem_response
from app.errors import LoupeError

# How long what the client still sends is read and thrown away.
LINGER_SECONDS = 5.0


async def refuse_unread(scope: Scope, receive: Receive, send: Send, error: LoupeError) -> None:
    """Sends the problem at once, and ends the connection once the client has stopped sending, or soon.

    Ended while the client sends, the connection would be reset: a proxy before Loupe then answers 502 itself.
    """
    response = problem_response(Request(scope), error)
    response.headers["Connection"] = "close"

    async def send_without_end(message: Message) -> None:
        await send({**message, "more_body": True} if message["type"] == "http.response.body" else message)

    await response(scope, receive, send_without_end)
    with anyio.move_on_after(LINGER_SECONDS):
        while (await receive()).get("more_body"):
            pass
    await send({"type": "http.response.body"})
