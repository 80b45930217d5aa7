"""``/workers``"""

from __future__ import annotations

from fastapi import APIRouter

from app.api.dependencies import After, ContextDep, Limit
from app.api.routes import CheckedRoute
from app.schemas.common import Page
from app.schemas.worker import Worker
from app.services import workers

router = APIRouter(tags=["operation"], route_class=CheckedRoute)


@router.get("/workers")
def list_workers(context: ContextDep, limit: Limit = 50, after: After = None) -> Page[Worker]:
    """The worker processes, newest first: whether they live, where, on which devices, and what they run."""
    return workers.list_workers(context, limit=limit, after=after)
