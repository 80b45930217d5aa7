"""What routes share: the opened context, paging, idempotency."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Query, Request
from starlette._utils import get_route_path

from app.api.auth import get_recheck
from app.context import AppContext
from app.inference.cache import ModelCache
from app.inference.turns import Turns
from app.schemas.caller import Caller
from app.services.audit_trail import Attempt
from app.services.idempotency import IdempotentRequest
from app.services.key_ring import KeyRing
from app.services.model_router import ModelRouter

T = TypeVar("T")


def get_context(request: Request) -> AppContext:
    """The process's context, as far as the caller may use it."""
    caller: Caller = request.state.caller
    return get_open_context(request).on_behalf_of(caller)


def get_open_context(request: Request) -> AppContext:
    """The process's context, for routes that ask for no key."""
    context: AppContext = request.app.state.context
    attempt: Attempt = request.state.attempt
    return context.recorded_by(attempt)


def get_key_ring(request: Request) -> KeyRing:
    ring: KeyRing = request.app.state.key_ring
    return ring


def get_model_cache(request: Request) -> ModelCache:
    cache: ModelCache = request.app.state.model_cache
    return cache


def get_model_router(request: Request) -> ModelRouter:
    router: ModelRouter = request.app.state.model_router
    return router


def get_turns(request: Request) -> Turns:
    turns: Turns = request.app.state.turns
    return turns


async def get_idempotent_request(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=255, description="Repeat a request safely: same key, same answer."),
    ] = None,
) -> IdempotentRequest | None:
    """The key of a creating request with a JSON body."""
    if idempotency_key is None:
        return None
    return IdempotentRequest.of(scope_of(request), idempotency_key, await request.body())


def scope_of(request: Request) -> str:
    """The route that an idempotency key belongs to; ``/v1/jobs``, ``/jobs`` and a proxy's are one.

    Each API key has idempotency keys of its own.
    """
    caller: Caller = request.state.caller
    route = f"{request.method} {get_route_path(request.scope)}"
    return route if caller.key_id is None else f"{caller.key_id} {route}"


def _inline(find: Callable[[Request], T]) -> Callable[[Request], Awaitable[T]]:
    """FastAPI calls a plain function in a thread, which costs more than these do."""

    async def find_inline(request: Request) -> T:
        return find(request)

    return find_inline


ContextDep = Annotated[AppContext, Depends(_inline(get_context))]
OpenContextDep = Annotated[AppContext, Depends(_inline(get_open_context))]
KeyRingDep = Annotated[KeyRing, Depends(_inline(get_key_ring))]
RecheckDep = Annotated[Callable[[], None], Depends(_inline(get_recheck))]
ModelCacheDep = Annotated[ModelCache, Depends(_inline(get_model_cache))]
ModelRouterDep = Annotated[ModelRouter, Depends(_inline(get_model_router))]
TurnsDep = Annotated[Turns, Depends(_inline(get_turns))]
IdempotentDep = Annotated[IdempotentRequest | None, Depends(get_idempotent_request)]
Limit = Annotated[int, Query(ge=1, le=100, description="Rows on a page.")]
Force = Annotated[bool, Query(description="Delete also what depends on it, as far as that is safe.")]
After = Annotated[str | None, Query(description="`next_cursor` of the page before.")]
