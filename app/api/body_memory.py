"""A bound on the memory of all bodies with images that are being received or answered at one time."""

from __future__ import annotations

import asyncio

from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.prediction_routes import HEAD_LENGTH, is_image_path, is_protocol_path
from app.api.problems import BodyRefusedError
from app.api.routes import JSON, media_type_of
from app.errors import BusyError, SlowRequestError
from app.host.addresses import site_of
from app.images.memory_budget import SharedBudget
from app.schemas.caller import Caller

WAIT_SECONDS = 5.0
BODY_SECONDS = 60.0
"""From its first byte to its last: what comes slowly would keep the memory from others."""
JSON_FACTOR = 5
"""JSON is kept as bytes and as text, of which one wide character makes four bytes a character of all; or as
text that is read as base64, without its blanks, and as what that stands for."""


class BodyMemoryMiddleware:
    """Lets a prediction's body come as long as all together, and all of its sender, stay in bounds.

    One alone may always come.
    """

    def __init__(self, app: ASGIApp, total: int) -> None:
        self._app = app
        self._budget = SharedBudget(total)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not is_image_path(get_route_path(scope)):
            await self._app(scope, receive, send)
            return
        factor, declared = _factor(Request(scope)), _declared(scope)
        sender, came, held = "", 0, 0
        deadline: float | None = None

        async def receive_within() -> Message:
            nonlocal sender, came, held, deadline
            message = await (receive() if deadline is None else _receive_until(deadline, receive))
            if not message.get("more_body"):
                deadline = None  # what comes now is that the client leaves
            elif deadline is None:
                deadline = asyncio.get_running_loop().time() + BODY_SECONDS
            came += len(message.get("body", b""))
            # The whole of it as it begins to come: bodies that each hold a part would wait for one another.
            amount = factor * max(came, declared) - held if came else 0
            if amount > 0:
                sender = sender or _sender_of(scope)
                if not self._budget.take_now(sender, amount, held=held):
                    await self._wait_for(sender, amount, held)
                held += amount
            return message

        try:
            await self._app(scope, receive_within, send)
        finally:
            if held:
                self._budget.give_back(sender, held)

    async def _wait_for(self, sender: str, amount: int, held: int) -> None:
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._budget.take(sender, amount, held=held)
        except TimeoutError:
            raise BodyRefusedError(
                BusyError(
                    "Other requests take all the memory for images, or all that one client may have.",
                    hint="Try again in a few seconds, or send smaller images.",
                )
            ) from None


async def _receive_until(deadline: float, receive: Receive) -> Message:
    try:
        async with asyncio.timeout_at(deadline):
            return await receive()
    except TimeoutError:
        raise BodyRefusedError(
            SlowRequestError(
                f"The images did not come within {BODY_SECONDS:g} s.", hint="Send fewer at once."
            )
        ) from None


def _declared(scope: Scope) -> int:
    """How long the body will be, if its head says so; the server holds the client to that."""
    length = Headers(scope=scope).get("content-length", "")
    return int(length) if length.isdigit() else 0


def _sender_of(scope: Scope) -> str:
    """The key, or the client's address. Ask once the body comes: by then the route knows who sent it."""
    caller: Caller | None = scope["state"].get("caller")
    if caller is not None and caller.key_id is not None:
        return caller.key_id
    client = scope.get("client")
    return site_of(client[0]) if client else "unknown"


def _factor(request: Request) -> int:
    """How many times its length a body takes. The protocol's is JSON unless it says where that ends."""
    is_json = media_type_of(request) == JSON or (
        is_protocol_path(get_route_path(request.scope)) and HEAD_LENGTH not in request.headers
    )
    return JSON_FACTOR if is_json else 1
