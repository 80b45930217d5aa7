"""What every prediction goes through, whichever way it came: limits, its model, its deadline, metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from app.api.dependencies import get_context, get_model_router
from app.api.leaving import CLIENT_GONE, ClientGoneError, unless_gone
from app.api.limits import take
from app.api.measurements import ANSWERED, Measurements
from app.errors import BusyError, LoupeError
from app.schemas.limits import PREDICTIONS
from app.schemas.prediction import PredictionTiming
from app.services.model_router import Asked, Question
from app.services.prediction_counts import Counter, Tally

SERVER_TIMING = {
    "Server-Timing": {
        "description": "Milliseconds that loading the model (where it was not at hand), waiting, decoding, "
        "inference and the whole took.",
        "schema": {"type": "string"},
    }
}


@dataclass(frozen=True)
class Answered:
    """``outcomes``: of each image, answered or the code of its error. ``timings``: of those that have one.

    ``decisions``: accept, or why an answer was rejected; of those that were judged.
    """

    response: Response
    outcomes: list[str]
    timings: Sequence[PredictionTiming]
    decisions: Sequence[str] = ()


async def answer_in_bounds(
    request: Request,
    question: Question,
    work: Callable[[Asked], Coroutine[Any, Any, Answered]],
    *,
    images: int,
    seconds: float | None,
) -> Response:
    """What ``work`` answers about so many images with the model of ``question``.

    The body must have been read. Raises what finding the model and ``work`` raise; LimitReachedError, and
    BusyError after ``seconds``.
    """
    await take(request, request.state.caller, PREDICTIONS, images)
    measurements: Measurements = request.app.state.measurements
    counter: Counter = request.app.state.prediction_counter
    router = get_model_router(request)
    began = time.perf_counter()

    async def find_and_work() -> tuple[Asked, Answered]:
        asked = router.peek(question)
        if asked is None:
            asked = await router.ask(get_context(request), question)
        return asked, await work(asked)

    try:
        async with _at_most(seconds):
            asked, answered = await unless_gone(request, find_and_work())
    except ClientGoneError:
        measurements.prediction_failed("", time.perf_counter() - began, "client_gone", images)
        return Response(status_code=CLIENT_GONE)
    except LoupeError as error:
        known = router.find(question)
        product = known.product if known else ""
        measurements.prediction_failed(product, time.perf_counter() - began, error.code, images)
        if known:
            counter.add(product, Tally(images=images))
        raise
    elapsed = time.perf_counter() - began
    if asked.load_seconds:
        measurements.loaded(asked.load_seconds)
    measurements.predicted(asked.choice.product, elapsed, answered.outcomes, answered.decisions)
    counter.add(asked.choice.product, _count(answered))
    for timing in answered.timings:
        measurements.staged(timing)
    answered.response.headers["Server-Timing"] = _server_timing(asked.load_seconds, answered.timings, elapsed)
    return answered.response


def _count(answered: Answered) -> Tally:
    return Tally(
        images=len(answered.outcomes),
        answered=answered.outcomes.count(ANSWERED),
        rejected=sum(decision != "accept" for decision in answered.decisions),
    )


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


def _server_timing(load_seconds: float, timings: Sequence[PredictionTiming], seconds: float) -> str:
    """Milliseconds of all images together by stage, and of the request since it was read."""
    queue, decode, inference = (
        sum(getattr(timing, name) for timing in timings) for name in ("queue_ms", "decode_ms", "inference_ms")
    )
    load = f"load;dur={1000 * load_seconds:.3f}, " if load_seconds else ""
    return (
        f"{load}queue;dur={queue:.3f}, decode;dur={decode:.3f}, inference;dur={inference:.3f}, "
        f"total;dur={1000 * seconds:.3f}"
    )
