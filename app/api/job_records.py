"""``/jobs/{job}/metrics``, ``/events``, ``/findings``, ``/logs``"""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Literal, TypeVar

import anyio
from anyio.lowlevel import RunVar
from fastapi import APIRouter, Header, Query
from fastapi.responses import PlainTextResponse, Response, StreamingResponse

from app.api.dependencies import ContextDep, Limit, RecheckDep
from app.api.routes import CheckedRoute
from app.context import AppContext
from app.csv_cells import safe_row
from app.errors import FieldError, InvalidRequestError, LoupeError
from app.schemas.common import Page
from app.schemas.finding import JobFindings
from app.schemas.job import EpochPoint, JobEvent, JobMetrics, LogFile, StepPoint
from app.schemas.numbers import MOST
from app.services import job_records, training_findings

router = APIRouter(prefix="/jobs/{job}", tags=["jobs"], route_class=CheckedRoute)

EVENT_POLL_SECONDS = 0.3
KEEP_ALIVE_SECONDS = 15.0
LOG_POLL_SECONDS = 0.5
FOLLOWER_THREADS = 4
"""For all that is followed: many followers must not take the threads of short requests."""
PAUSE_FOR_WORK = 4
"""A follower pauses for so many times as long as its last look took: many slow down one another alone."""

T = TypeVar("T")
_follower_threads: RunVar[anyio.CapacityLimiter] = RunVar("follower_threads")


@router.get(
    "/metrics",
    response_model=JobMetrics,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}}},
)
def get_metrics(
    job: str,
    context: ContextDep,
    since: Annotated[int, Query(ge=0, le=MOST, description="Only what came after this step.")] = 0,
    max_points: Annotated[
        int, Query(ge=2, le=100_000, description="Thin the steps evenly to so many.")
    ] = 2000,
    series: Annotated[Literal["epochs", "steps"], Query(description="Which series a CSV holds.")] = "epochs",
    accept: Annotated[str, Header()] = "",
) -> JobMetrics | Response:
    """Series per step and per epoch, the best epoch, the test summary. Also while the training runs."""
    metrics = job_records.get_metrics(context, job, since=since, max_points=max_points)
    if "text/csv" in accept:
        rows = metrics.epochs if series == "epochs" else metrics.steps
        return Response(_to_csv(rows, EpochPoint if series == "epochs" else StepPoint), media_type="text/csv")
    return metrics


@router.get(
    "/events",
    response_model=Page[JobEvent],
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
def list_events(
    job: str,
    context: ContextDep,
    recheck: RecheckDep,
    limit: Limit = 100,
    after: Annotated[str | None, Query(description="Only events after this number.")] = None,
    accept: Annotated[str, Header()] = "",
    last_event_id: Annotated[str | None, Header()] = None,
) -> Page[JobEvent] | Response:
    """What happened to the job, numbered.

    As `text/event-stream` it follows the job to its end, and resumes with `Last-Event-ID`.
    """
    start = _event_number(last_event_id if last_event_id is not None else after)
    page, _ = job_records.list_events(context, job, after=start, limit=limit)
    if "text/event-stream" in accept:
        return StreamingResponse(
            _follow_events(context, job, start, recheck),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )
    return page


@router.get("/findings")
def get_findings(job: str, context: ContextDep) -> JobFindings:
    """What stands out in a training, the worst first: what is wrong, the numbers that show it, what to do.

    Also while it runs. The answers to the test images are looked at once it has ended.
    """
    return training_findings.get_findings(context, job)


@router.get("/logs")
def list_logs(job: str, context: ContextDep) -> list[LogFile]:
    """The logs that the training has written so far."""
    return job_records.list_logs(context, job)


@router.get("/logs/{name}", response_class=PlainTextResponse)
def get_log(
    job: str,
    name: str,
    context: ContextDep,
    recheck: RecheckDep,
    tail: Annotated[int | None, Query(ge=1, le=MOST, description="Only the last lines.")] = None,
    follow: Annotated[bool, Query(description="Go on until the job has ended.")] = False,
) -> Response:
    """A log: `training_result.log`, `training_result_step.log` or `test_result.log`."""
    path = job_records.get_log(context, job, name)
    if not follow:
        return StreamingResponse(job_records.read_log(path, tail), media_type="text/plain; charset=utf-8")
    return StreamingResponse(
        _follow_log(context, job, name, tail, recheck), media_type="text/plain; charset=utf-8"
    )


def _event_number(value: str | None) -> int:
    if value is None or value == "":
        return 0
    if not value.isdecimal() or len(value) > 9:
        raise InvalidRequestError(
            "An event's number is a whole number.", errors=(FieldError("after", "not a number"),)
        )
    return int(value)


async def _follow_events(
    context: AppContext, job: str, after: int, recheck: Callable[[], None]
) -> AsyncIterator[str]:
    silent_since = anyio.current_time()
    while _is_allowed(recheck):
        (page, ended), pause = await _look(
            lambda after=after: job_records.list_events(context, job, after=after)  # type: ignore[misc]
        )
        for event in page.data:
            after = event.number
            yield f"id: {event.number}\nevent: {event.type}\ndata: {event.model_dump_json()}\n\n"
        if ended:
            return
        if page.data:
            silent_since = anyio.current_time()
        elif anyio.current_time() - silent_since > KEEP_ALIVE_SECONDS:
            silent_since = anyio.current_time()
            yield ": still here\n\n"
        if not page.has_more:
            await anyio.sleep(max(EVENT_POLL_SECONDS, pause))


async def _follow_log(
    context: AppContext, job: str, name: str, tail: int | None, recheck: Callable[[], None]
) -> AsyncIterator[bytes]:
    log = job_records.FollowedLog(tail)
    while _is_allowed(recheck):
        (text, ended), pause = await _look(lambda: log.read_on(context, job, name))
        if text:
            yield text
        if ended:
            return
        if not log.has_more:
            await anyio.sleep(max(LOG_POLL_SECONDS, pause))


async def _look(read: Callable[[], T]) -> tuple[T, float]:
    """What ``read`` gives, in a thread, and for how long to pause after it."""
    try:
        threads = _follower_threads.get()
    except LookupError:
        threads = anyio.CapacityLimiter(FOLLOWER_THREADS)
        _follower_threads.set(threads)
    began = anyio.current_time()
    found = await anyio.to_thread.run_sync(read, limiter=threads)
    return found, PAUSE_FOR_WORK * (anyio.current_time() - began)


def _is_allowed(recheck: Callable[[], None]) -> bool:
    """Whether the key is good still: a revoked one follows nothing, and the answer has begun already."""
    try:
        recheck()
    except LoupeError:
        return False
    return True


def _to_csv(rows: list[EpochPoint] | list[StepPoint], kind: type[EpochPoint | StepPoint]) -> str:
    output = io.StringIO()
    writer = csv.writer(output)
    writer.writerow(kind.model_fields)
    writer.writerows(safe_row(row.model_dump().values()) for row in rows)
    return output.getvalue()
