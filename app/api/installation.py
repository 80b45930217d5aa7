"""``/doctor``"""

from __future__ import annotations

from fastapi import APIRouter

from app.api.dependencies import ContextDep
from app.api.routes import CheckedRoute
from app.schemas.installation import Installation
from app.services import installation

router = APIRouter(tags=["operation"], route_class=CheckedRoute)


@router.get("/doctor")
def look_at_installation(context: ContextDep) -> Installation:
    """The checks of `loupe doctor` on the host that answers: database, Redis, disk, workers, devices."""
    return installation.look_at_installation(context)
