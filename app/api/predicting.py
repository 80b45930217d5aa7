"""What every prediction goes through, whichever way it came: its key's limit, its deadline, the metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from fastapi import Request, Response

from app.api.leaving import CLIENT_GONE, ClientGoneError, unless_gone
from app.api.limits import take
from app.api.measurements import Measurements
from app.context import AppContext
from app.errors import BusyError, LoupeError
from app.schemas.limits import PREDICTIONS

T = TypeVar("T")


async def answer_in_bounds(
    request: Request,
    context: AppContext,
    question: tuple[str | None, ...],
    work: Callable[[], Coroutine[Any, Any, T]],
    *,
    images: int,
    seconds: float | None,
    describe: Callable[[T], tuple[str, list[str]]],
) -> T | Response:
    """What ``work`` answers about so many images, or the answer to a client that has left.

    ``question``: the product, job and model that were named. ``describe``: the product of an answer, and the
    outcome of each image. The body must have been read.
    """
    await take(request, request.state.caller, PREDICTIONS, images)
    measurements: Measurements = request.app.state.measurements
    began = time.perf_counter()
    try:
        async with _at_most(seconds):
            answer = await unless_gone(request, work())
    except ClientGoneError:
        measurements.prediction_failed("", time.perf_counter() - began, "client_gone", images)
        return Response(status_code=CLIENT_GONE)
    except LoupeError as error:
        last = context.last_choices.get(question)
        product = last.product if last else ""
        measurements.prediction_failed(product, time.perf_counter() - began, error.code, images)
        raise
    product, outcomes = describe(answer)
    measurements.predicted(product, time.perf_counter() - began, outcomes)
    return answer


@asynccontextmanager
async def _at_most(seconds: float | None) -> AsyncIterator[None]:
    """Raises BusyError after so long."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise BusyError(
            f"There is no answer within the {seconds:g} s that the request allows.",
            hint="Try again in a few seconds, or allow more with X-Request-Timeout.",
        ) from None
