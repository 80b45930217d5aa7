"""Whether the server lives, whether it can serve, and what it is. The first two ask for no API key."""

from __future__ import annotations

import platform
from typing import Any

from fastapi import APIRouter, Response

from app import __version__
from app.api.dependencies import OpenContextDep
from app.api.routes import CheckedRoute, ProbeRoute
from app.errors import LoupeError
from app.schema_version import is_behind

router = APIRouter(tags=["health"], route_class=CheckedRoute)
probes = APIRouter(tags=["health"], route_class=ProbeRoute)


@probes.get("/healthz")
async def healthz() -> dict[str, str]:
    """200 as long as the process answers."""
    return {"status": "ok"}


@probes.get("/readyz", responses={503: {"description": "Not ready; the checks say why."}})
def readyz(context: OpenContextDep, response: Response) -> dict[str, Any]:
    """200 when products, jobs and predictions can be served. Redis may be away: jobs are kept meanwhile."""
    try:
        database = "ok" if not is_behind(context.db) else "migrations are missing: run `loupe migrate`"
    except LoupeError as error:
        database = error.detail
    checks = {"database": database, **context.storage.remote.checks()}
    ready = set(checks.values()) == {"ok"}
    response.status_code = 200 if ready else 503
    redis = "ok" if context.queue.is_up() else "does not answer; jobs are kept and start when it is back"
    return {"ready": ready, "checks": {**checks, "redis": redis}}


router.routes += probes.routes


@router.get("/version")
async def version() -> dict[str, str]:
    """The release that runs."""
    return {"name": "loupe", "version": __version__, "python": platform.python_version()}
