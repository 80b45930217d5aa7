"""``/sweeps``"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response, status
from fastapi.responses import JSONResponse

from app.api.answers import created
from app.api.dependencies import After, ContextDep, IdempotentDep, Limit
from app.api.routes import CheckedRoute
from app.schemas.common import Page
from app.schemas.sweep import Sweep, SweepCreate, SweepStatus
from app.services import sweeps

router = APIRouter(prefix="/sweeps", tags=["sweeps"], route_class=CheckedRoute)


@router.post("", status_code=status.HTTP_201_CREATED, response_model=Sweep)
def create_sweep(request: SweepCreate, context: ContextDep, idempotent: IdempotentDep) -> JSONResponse:
    """Train many networks on one split; the best by validation becomes a model, and it alone is tested."""
    return created(sweeps.create_sweep(context, request, idempotent))


@router.get("")
def list_sweeps(
    context: ContextDep,
    product: Annotated[str | None, Query(description="Only sweeps of this product.")] = None,
    status: Annotated[SweepStatus | None, Query(description="Only sweeps in this state.")] = None,
    limit: Limit = 50,
    after: After = None,
) -> Page[Sweep]:
    """Sweeps, newest first."""
    return sweeps.list_sweeps(context, product=product, status=status, limit=limit, after=after)


@router.get("/{sweep}")
def get_sweep(sweep: str, context: ContextDep) -> Sweep:
    """One sweep: its candidates, best first, and what has happened."""
    return sweeps.get_sweep(context, sweep)


@router.post(
    "/{sweep}/cancel",
    status_code=status.HTTP_202_ACCEPTED,
    responses={200: {"model": Sweep, "description": "That had been asked before."}},
)
def cancel_sweep(sweep: str, context: ContextDep, response: Response) -> Sweep:
    """End a sweep with all its trainings and keep nothing. 200 when that had been asked before."""
    answer, was_asked = sweeps.cancel_sweep(context, sweep)
    if was_asked:
        response.status_code = status.HTTP_200_OK
    return answer
