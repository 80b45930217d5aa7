"""``GET /audit``: who did what"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import Response, StreamingResponse

from app.api.dependencies import After, ContextDep, Limit
from app.api.routes import CheckedRoute
from app.context import AppContext
from app.schemas.audit_record import AuditRecord, Outcome
from app.schemas.common import Page
from app.schemas.moments import Moment
from app.services import audit_records
from app.services.audit_records import Wanted
from app.services.audit_trail import Trail

router = APIRouter(prefix="/audit", tags=["access"], route_class=CheckedRoute)

LINES = "application/x-ndjson"


def write_what_came(request: Request) -> None:
    """What this process has not written yet is in the answer too."""
    trail: Trail = request.app.state.audit_trail
    context: AppContext = request.app.state.context
    trail.write(context.db)


Word = Annotated[str | None, Query(min_length=1, max_length=200)]


def get_wanted(
    key: Annotated[Word, Query(description="Id or name of a key.")] = None,
    action: Annotated[Word, Query(description="A part of the action, such as `DELETE` or `/jobs`.")] = None,
    product: Annotated[Word, Query(description="Only of this product.")] = None,
    thing: Annotated[Word, Query(description="Id of a job, a dataset, a key, or a name.")] = None,
    outcome: Annotated[Outcome | None, Query(description="Only of this outcome.")] = None,
    since: Annotated[Moment | None, Query(description="Not before this time, with its zone.")] = None,
    until: Annotated[Moment | None, Query(description="Before this time, with its zone.")] = None,
) -> Wanted:
    return Wanted(key, action, product, thing, outcome, since, until)


@router.get(
    "",
    response_model=Page[AuditRecord],
    dependencies=[Depends(write_what_came)],
    responses={200: {"content": {LINES: {"schema": {"type": "string"}}}}},
)
def list_records(
    context: ContextDep,
    wanted: Annotated[Wanted, Depends(get_wanted)],
    limit: Limit = 50,
    after: After = None,
    accept: Annotated[str, Header()] = "",
) -> Page[AuditRecord] | Response:
    """Who did what, or tried to, newest first; with `Accept: application/x-ndjson` all of it, oldest first.

    Reads and predictions are not recorded.
    """
    if LINES in accept:
        return StreamingResponse(audit_records.iterate_records(context, wanted), media_type=LINES)
    return audit_records.list_records(context, wanted, limit=limit, after=after)
