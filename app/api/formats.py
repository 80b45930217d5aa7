"""``/formats``"""

from __future__ import annotations

from fastapi import APIRouter

from app.api.dependencies import ContextDep
from app.api.routes import CheckedRoute
from app.schemas.formats import Formats
from app.services import formats

router = APIRouter(tags=["datasets"], route_class=CheckedRoute)


@router.get("/formats")
def get_formats(context: ContextDep) -> Formats:
    """What an import reads: images, archives, tables, and how large they may be."""
    return formats.get_formats(context.settings)
