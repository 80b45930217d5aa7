"""Answers that wait for an end: ``?wait=SECONDS``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

import anyio
from fastapi import Query, Request
from fastapi.concurrency import run_in_threadpool

from app.api.auth import get_recheck

STEP_SECONDS = 0.25
MOST_SECONDS = 60

T = TypeVar("T")

WaitForJob = Annotated[float, Query(ge=0, le=MOST_SECONDS, description="Seconds to wait for the job's end.")]
WaitForImport = Annotated[
    float,
    Query(
        ge=0,
        le=MOST_SECONDS,
        description="Seconds to wait for the import's end: until the dataset is ready or has failed.",
    ),
]


async def wait_until(
    request: Request, seconds: float, look: Callable[[], T], has_ended: Callable[[T], bool]
) -> T:
    """What ``look`` finds once that has ended, or after ``seconds``, or when the client is gone.

    Raises UnauthorizedError once the key is revoked, and what ``look`` raises.
    """
    recheck = get_recheck(request)
    deadline = anyio.current_time() + seconds
    while True:
        found = await run_in_threadpool(look)
        if has_ended(found) or anyio.current_time() >= deadline or await request.is_disconnected():
            return found
        await anyio.sleep(STEP_SECONDS)
        recheck()
