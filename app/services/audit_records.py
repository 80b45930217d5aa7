"""The audit's records, from a reader's side. No verb changes one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, String, cast, select

from app.context import AppContext
from app.models import AuditRecord
from app.schemas import audit_record as schemas
from app.schemas.common import Page
from app.services.pages import fetch_page

BATCH = 1000


@dataclass(frozen=True)
class Wanted:
    """Which records; None: all. ``key``: an id, or the name of a key."""

    key: str | None = None
    action: str | None = None
    product: str | None = None
    thing: str | None = None
    outcome: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def select(self) -> Select[AuditRecord]:
        query = select(AuditRecord)
        if self.key is not None:
            query = query.where((AuditRecord.key_id == self.key) | (AuditRecord.caller == self.key))
        if self.action is not None:
            query = query.where(AuditRecord.action.icontains(self.action, autoescape=True))
        if self.product is not None:
            query = query.where(AuditRecord.product_id == self.product)
        if self.thing is not None:
            # As the column's JSON writes it.
            query = query.where(
                cast(AuditRecord.things, String).contains(json.dumps(self.thing), autoescape=True)
            )
        if self.outcome is not None:
            query = query.where(AuditRecord.outcome == self.outcome)
        if self.since is not None:
            query = query.where(AuditRecord.created_at >= self.since)
        if self.until is not None:
            query = query.where(AuditRecord.created_at < self.until)
        return query


def list_records(
    context: AppContext, wanted: Wanted, *, limit: int, after: str | None
) -> Page[schemas.AuditRecord]:
    with context.db.read() as session:
        return fetch_page(session, wanted.select(), AuditRecord.id, _to_schema, limit=limit, after=after)


def iterate_records(context: AppContext, wanted: Wanted) -> Iterator[str]:
    """All records as JSON lines, oldest first, read a batch at a time."""
    last = ""
    while True:
        query = wanted.select().where(AuditRecord.id > last).order_by(AuditRecord.id).limit(BATCH)
        with context.db.read() as session:
            lines = [(row.id, _to_schema(row).model_dump_json()) for row in session.scalars(query)]
        yield "".join(f"{line}\n" for _, line in lines)
        if len(lines) < BATCH:
            return
        last = lines[-1][0]


def _to_schema(row: Any) -> schemas.AuditRecord:
    return schemas.AuditRecord(
        id=row.id,
        at=row.created_at,
        key=row.key_id,
        caller=row.caller,
        by_session=row.by_session,
        action=row.action,
        product=row.product_id,
        things=row.things,
        outcome=row.outcome,
        status=row.status,
        address=row.address,
        request_id=row.request_id,
        times=row.times,
    )
