"""Who asks: by the key in the header, or by the session in a browser's cookie."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from fastapi import Request
from fastapi.concurrency import run_in_threadpool

from app.api.scopes import Need
from app.changes import MISS_SECONDS, Changes
from app.errors import LoupeError, UnauthorizedError
from app.schemas.caller import ANYBODY, Caller
from app.services.audit_trail import Attempt
from app.services.key_ring import KeyRing, unauthorized

COOKIE = "loupe_session"


async def identify(request: Request, need: Need) -> Caller:
    """Who asks; whether they may is not asked yet. Raises UnauthorizedError; UnavailableError.

    Nothing is waited for but once for a key that this process does not know: another may just have made it.
    """
    ring: KeyRing = request.app.state.key_ring
    if ring.is_unread:
        await look_again(request)
        if ring.is_unread and need.is_local:
            _record(request, ANYBODY)
            return ANYBODY
    try:
        caller = find_caller(request)
    except UnauthorizedError:
        if not shows_something(request):
            raise
        await look_again(request)
        caller = find_caller(request)
    _record(request, caller)
    ring.note_use(caller)
    client = request.client
    return replace(
        caller,
        address=client.host if client else None,
        request_id=getattr(request.state, "request_id", None),
    )


async def look_again(request: Request) -> None:
    """Looks for what another process may just have made: a look that begins after this call.

    All requests share one at a time, without a thread of their own: clients that guess keep nobody waiting.
    """
    state = request.app.state
    changes: Changes = state.context.changes
    missed_at = time.monotonic()
    while changes.looked_at < missed_at:
        if getattr(state, "next_look", None) is None or state.next_look.done():
            state.next_look = asyncio.create_task(_look_in_turn(changes))
        await asyncio.shield(state.next_look)


async def _look_in_turn(changes: Changes) -> None:
    await asyncio.sleep(changes.looked_at + MISS_SECONDS - time.monotonic())
    await run_in_threadpool(changes.look_after_a_miss)


def note_known_caller(request: Request) -> None:
    """For the record of a route that asks for no key: who showed one all the same."""
    with suppress(LoupeError):
        _record(request, find_caller(request))


def find_caller(request: Request) -> Caller:
    """Whose key or session came. Raises UnauthorizedError; UnavailableError."""
    ring: KeyRing = request.app.state.key_ring
    if ring.is_open:
        return ANYBODY
    given = request.headers.get("authorization")
    if given is None:
        token = request.cookies.get(COOKIE)
        if token is None:
            raise unauthorized()
        return ring.find_session(token)
    scheme, _, key = given.partition(" ")
    if scheme.lower() != "bearer":
        raise unauthorized()
    # The bytes as they came: a header of UTF-8 reaches us as if it were Latin-1.
    caller, _ = ring.find_key(key.strip(" \t").encode("latin-1"))
    return caller


def get_recheck(request: Request) -> Callable[[], None]:
    """For answers that go on: call it now and then; it raises UnauthorizedError once the key is revoked."""

    def recheck() -> None:
        find_caller(request)

    return recheck


def _record(request: Request, caller: Caller) -> None:
    attempt: Attempt = request.state.attempt
    attempt.caller = caller
    attempt.by_session = caller is not ANYBODY and "authorization" not in request.headers


def shows_something(request: Request) -> bool:
    """Whether a key or a session came, be it a good one or not."""
    return "authorization" in request.headers or COOKIE in request.cookies
