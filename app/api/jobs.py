"""``/jobs``"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response, status
from fastapi.responses import JSONResponse

from app.api.answers import created
from app.api.dependencies import After, ContextDep, IdempotentDep, Limit
from app.api.routes import CheckedRoute
from app.api.waiting import WaitForJob, wait_until
from app.schemas.common import Page
from app.schemas.job import Job, JobCreate, JobKind, JobPlan, JobRetry, JobStatus
from app.services import job_lifecycle, jobs
from app.services.job_states import TERMINAL

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=CheckedRoute)


@router.post(
    "",
    status_code=status.HTTP_201_CREATED,
    response_model=Job,
    responses={200: {"model": JobPlan, "description": "The plan of a dry run."}},
)
def create_job(
    request: JobCreate,
    context: ContextDep,
    idempotent: IdempotentDep,
    dry_run: Annotated[bool, Query(description="Resolve every setting and start nothing.")] = False,
    forecast: Annotated[
        bool,
        Query(
            description="Whether a dry run says what the training would take and bring, which may take some "
            "seconds."
        ),
    ] = True,
) -> JSONResponse:
    """Start a training. The job is stored before the answer; a worker takes it up."""
    if dry_run:
        plan = jobs.plan_job(context, request, with_forecast=forecast)
        return JSONResponse(plan.model_dump(mode="json"))
    return created(jobs.create_job(context, request, idempotent))


@router.get("")
def list_jobs(
    context: ContextDep,
    product: Annotated[str | None, Query(description="Only jobs of this product.")] = None,
    status: Annotated[JobStatus | None, Query(description="Only jobs in this state.")] = None,
    kind: Annotated[JobKind | None, Query(description="Only jobs of this kind.")] = None,
    sweep: Annotated[str | None, Query(description="Only the candidates of this sweep.")] = None,
    dataset: Annotated[str | None, Query(description="Only jobs on this dataset.")] = None,
    limit: Limit = 50,
    after: After = None,
) -> Page[Job]:
    """Jobs of all kinds, newest first."""
    return jobs.list_jobs(
        context,
        product=product,
        status=status,
        kind=kind,
        sweep=sweep,
        dataset=dataset,
        limit=limit,
        after=after,
    )


@router.get("/{job}")
async def get_job(
    job: str,
    context: ContextDep,
    request: Request,
    wait: WaitForJob = 0,
) -> Job:
    """One job, with its progress and the estimated time to its end."""
    return await wait_until(
        request, wait, lambda: jobs.get_job(context, job), lambda found: found.status in TERMINAL
    )


@router.post(
    "/{job}/cancel",
    status_code=status.HTTP_202_ACCEPTED,
    responses={200: {"model": Job, "description": "It had been cancelled before."}},
)
def cancel_job(job: str, context: ContextDep, response: Response) -> Job:
    """End a job and keep nothing of it. 200 when it had been cancelled before."""
    answer, was_cancelled = job_lifecycle.cancel_job(context, job)
    if was_cancelled:
        response.status_code = status.HTTP_200_OK
    return answer


@router.post(
    "/{job}/pause",
    status_code=status.HTTP_202_ACCEPTED,
    responses={200: {"model": Job, "description": "It rests already."}},
)
def pause_job(job: str, context: ContextDep, response: Response) -> Job:
    """Checkpoint a training and let it rest; the worker is free for others. 200 when it rests already."""
    answer, was_asked = job_lifecycle.pause_job(context, job)
    if was_asked:
        response.status_code = status.HTTP_200_OK
    return answer


@router.post(
    "/{job}/resume",
    status_code=status.HTTP_202_ACCEPTED,
    responses={200: {"model": Job, "description": "It is under way already."}},
)
def resume_job(job: str, context: ContextDep, response: Response) -> Job:
    """Go on with a paused training where it was. 200 when it is under way already."""
    answer, was_under_way = job_lifecycle.resume_job(context, job)
    if was_under_way:
        response.status_code = status.HTTP_200_OK
    return answer


@router.post("/{job}/retry", status_code=status.HTTP_202_ACCEPTED)
def retry_job(job: str, context: ContextDep, request: JobRetry | None = None) -> Job:
    """Give a failed job another attempt, from its last checkpoint or from the beginning."""
    return job_lifecycle.retry_job(context, job, request or JobRetry(start="checkpoint"))


@router.delete("/{job}", status_code=status.HTTP_204_NO_CONTENT)
def delete_job(job: str, context: ContextDep) -> Response:
    """Delete a job that has ended, with its model and files, unless an alias needs the model."""
    job_lifecycle.delete_job(context, job)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.post(
    "/{job}/stop",
    status_code=status.HTTP_202_ACCEPTED,
    responses={200: {"model": Job, "description": "That had been asked before."}},
)
def stop_job(job: str, context: ContextDep, response: Response) -> Job:
    """End a training early and keep its best epoch. 200 when that had been asked before."""
    answer, was_asked = job_lifecycle.stop_job(context, job)
    if was_asked:
        response.status_code = status.HTTP_200_OK
    return answer
