"""Which rows a key sees that is bound to products: of every table, or why that table is free.

What is not of its products is not there: statements find, count, change and delete none of it.
"""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, with_loader_criteria
from sqlalchemy.orm.util import LoaderCriteriaOption

from app.models import (
    Alias,
    AliasMove,
    ApiKey,
    AuditRecord,
    Base,
    BrowserSession,
    Dataset,
    Evaluation,
    GpuLease,
    IdempotencyKey,
    Job,
    JobEpoch,
    JobEvent,
    JobStep,
    Lease,
    LowDisk,
    MlflowRun,
    PredictionDay,
    Product,
    Revision,
    Sweep,
    TrainedModel,
    Upload,
    Webhook,
    WebhookDelivery,
    WebhookEvent,
    Worker,
)

BY_PRODUCT: dict[type[Base], InstrumentedAttribute[str]] = {
    Product: Product.id,
    **{
        table: table.product_id
        for table in (Dataset, Job, Sweep, TrainedModel, Alias, AliasMove, PredictionDay)
    },
}
BY_JOB: dict[type[Base], InstrumentedAttribute[str] | InstrumentedAttribute[str | None]] = {
    table: table.job_id for table in (Evaluation, JobEvent, JobStep, JobEpoch, GpuLease, MlflowRun)
}
FREE: dict[type[Base], str] = {
    ApiKey: "only the scope admin reads it through the API, and a bound key cannot have that",
    AuditRecord: "as ApiKey: only the scope admin reads it",
    BrowserSession: "found by the token alone",
    IdempotencyKey: "its scope begins with the id of the key",
    LowDisk: "of machines, not of products",
    Lease: "of processes, not of products",
    Revision: "of processes, not of products",
    **dict.fromkeys(
        (Webhook, WebhookEvent, WebhookDelivery), "what any key does is told; only admin reads it"
    ),
    Upload: "of no product yet; the key that sends it alone sees it",
    Worker: "machines; the jobs that one runs are limited",
}


@lru_cache(maxsize=256)
def limits_of(products: frozenset[str]) -> tuple[LoaderCriteriaOption, ...]:
    """What each statement of a session gets, so that it sees ``products`` alone."""
    ids = sorted(products)
    # The table itself: the entity in the subquery would be limited once more.
    jobs = Job.__table__
    of_products = select(jobs.c.id).where(jobs.c.product_id.in_(ids)).scalar_subquery()
    conditions: dict[type[Base], ColumnElement[bool]] = {
        **{table: column.in_(ids) for table, column in BY_PRODUCT.items()},
        **{table: column.in_(of_products) for table, column in BY_JOB.items()},
    }
    return tuple(
        with_loader_criteria(table, condition, include_aliases=True)
        for table, condition in conditions.items()
    )


def product_of(row: object) -> str | None:
    """The product of a new row, where the row itself says it."""
    column = BY_PRODUCT.get(type(row))  # type: ignore[arg-type]
    return None if column is None else getattr(row, column.key)
