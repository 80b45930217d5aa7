"""What a request takes of its key's limits: before its body is read, or while that arrives."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api.prediction_routes import IMAGE_ROUTES
from app.api.problems import BodyRefusedError
from app.api.rates import Left, Rates
from app.errors import LimitReachedError
from app.schemas.caller import Caller
from app.schemas.limits import PREDICTIONS, REQUESTS, UPLOADS, Rate

UPLOADING = frozenset(
    {
        ("POST", "/products/{product}/datasets"),
        ("POST", "/products/{product}/models"),
        ("POST", "/predictions"),
    }
)
PIECES = ("PATCH", "/uploads/{upload}")
"""Takes what comes, not what is declared: what a cut kept away is sent again."""
UNLIMITED = frozenset({("GET", "/metrics")})
"""Like the health checks, which ask for no key."""
STEP_BYTES = 2**20
"""An upload of unknown length takes so much at a time."""


async def admit(request: Request, caller: Caller, method: str, path: str) -> None:
    """Raises LimitReachedError. It reads no body."""
    if caller.key_id is None or (method, path) in UNLIMITED:
        return
    await take(request, caller, REQUESTS)
    is_prediction = method == "POST" and path in IMAGE_ROUTES
    if is_prediction and caller.limits.predictions_per_minute is not None:
        rates: Rates = request.app.state.rates
        quota = caller.limits.predictions_per_minute
        is_allowed, left = await rates.look(caller.key_id, PREDICTIONS, quota)
        _note(request, left, is_allowed=is_allowed)
    is_piece = (method, path) == PIECES
    is_upload = (is_piece or (method, path) in UPLOADING) and caller.limits.upload_bytes_per_day is not None
    if is_upload and not request.state.is_body_too_large:  # else nothing is read
        declared = request.headers.get("content-length")
        if declared is not None and declared.isdigit() and not is_piece:
            await take(request, caller, UPLOADS, int(declared))
        else:
            request._receive = _counted(request, caller)


async def take(request: Request, caller: Caller, rate: Rate, cost: int = 1) -> None:
    """Takes ``cost`` of a limit of the caller's key, if it has that limit. Raises LimitReachedError."""
    quota = getattr(caller.limits, rate.field)
    if quota is None or caller.key_id is None or cost < 1:
        return
    rates: Rates = request.app.state.rates
    is_allowed, left = await rates.take(caller.key_id, rate, quota, cost)
    _note(request, left, is_allowed=is_allowed, cost=cost)


class LimitHeadersMiddleware:
    """Adds what is left to each answer, as draft-ietf-httpapi-ratelimit-headers-10 has it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_limits(message: Message) -> None:
            seen: dict[str, Left] | None = scope["state"].get("limits")
            if seen is not None and message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = ", ".join(map(_policy, seen.values()))
                headers["RateLimit"] = ", ".join(map(_remaining, seen.values()))
            await send(message)

        await self._app(scope, receive, send_with_limits)


def _counted(request: Request, caller: Caller) -> Receive:
    """The request's ``receive``, which takes of the limit what has come, before it is passed on."""
    receive = request.receive
    paid = seen = 0

    async def receive_counted() -> Message:
        nonlocal paid, seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > paid:
            more = seen - paid if not message.get("more_body") else max(seen - paid, STEP_BYTES)
            try:
                await take(request, caller, UPLOADS, more)
            except LimitReachedError as error:
                raise BodyRefusedError(error) from error
            paid += more
        return message

    return receive_counted


def _note(request: Request, left: Left, *, is_allowed: bool, cost: int = 1) -> None:
    if not hasattr(request.state, "limits"):
        request.state.limits = {}
    request.state.limits[left.rate.name] = left
    if is_allowed:
        return
    detail = f"The key may have {left.quota:,} {left.rate.noun}"
    if cost > left.quota:
        raise LimitReachedError(
            left.rate.name,
            f"{detail}, and this request alone takes {cost:,}.",
            hint="Send less at once.",
            retry_after=left.rate.window_seconds,
        )
    raise LimitReachedError(
        left.rate.name,
        f"{detail}; {left.remaining:,} are left, and this request takes {cost:,}.",
        hint="Wait as long as Retry-After says. `GET /api-keys/<id>` shows the limits.",
        retry_after=left.seconds,
    )


def _policy(left: Left) -> str:
    unit = f';qu="{left.rate.unit}"' if left.rate.unit else ""
    return f'"{left.rate.name}";q={left.quota};w={left.rate.window_seconds}{unit}'


def _remaining(left: Left) -> str:
    return f'"{left.rate.name}";r={left.remaining};t={left.seconds}'
