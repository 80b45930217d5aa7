"""A key that is bound to products sees no other: no table, no kind of statement lets one through"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session, aliased

from app.context import AppContext
from app.db import Database
from app.errors import NotFoundError
from app.models import (
    Alias,
    AliasMove,
    Base,
    Dataset,
    Evaluation,
    GpuLease,
    Job,
    JobEpoch,
    JobEvent,
    JobStep,
    MlflowRun,
    PredictionDay,
    Product,
    Sweep,
    TrainedModel,
)
from app.models.base import new_id, utc_now
from app.models.product_limits import BY_JOB, BY_PRODUCT, FREE
from app.schemas.caller import Caller
from app.schemas.gate import GateRules
from app.schemas.sweep_state import SweepPlan
from docs.generate import ROOT
from tests.services.rows import dump

TABLES = [mapper.class_ for mapper in Base.registry.mappers]
LIMITED = [*BY_PRODUCT, *BY_JOB]
SWEEP_PLAN = SweepPlan(
    keep="winner", monitor="valid_accuracy", cuts=0, split={}, dataset_digest=None, evaluation_dataset=None,
    class_map=None, gate_rules=GateRules(min_accuracy=None), device="auto", gpus=1, budget_seconds=None,
    estimated_seconds=None, skipped=(), metadata={},
)  # fmt: skip
every_limited = pytest.mark.parametrize("table", LIMITED, ids=lambda table: table.__name__)


def add_one_of_each(session: Session, product: str) -> None:
    session.add(Product(id=product, name=product))
    session.flush()
    dataset = Dataset(id=f"dst_{product}", product_id=product, status="ready", source="x.zip")
    session.add(dataset)
    session.flush()
    job = Job(
        id=f"job_{product}", kind="training", product_id=product, dataset_id=dataset.id, status="running"
    )
    session.add(job)
    session.flush()
    model = TrainedModel(
        id=f"mdl_{product}", product_id=product, job_id=job.id, dataset_id=dataset.id, version=1, network="n",
        folder="f", digest="d", weights_sha256="w", bytes=1, labels=[], metrics={}, serving={},
    )  # fmt: skip
    session.add(model)
    session.flush()
    scores: dict[str, Any] = {"train_loss": 0.0, "train_accuracy": 0.0, "learning_rate": 0.0}
    session.add_all(
        [
            Alias(product_id=product, name="champion", model_id=model.id),
            PredictionDay(product_id=product, day=date(2026, 1, 1), images=1, answered=1, rejected=0),
            AliasMove(id=new_id("mov"), product_id=product, name="champion", to_model=model.id),
            Evaluation(
                id=new_id("evl"), job_id=job.id, model_id=model.id, dataset_id=dataset.id,
                is_final_test=True, folder="f", report={},
            ),
            JobEvent(job_id=job.id, number=1, type="status", data={}),
            JobStep(job_id=job.id, step=1, epoch=1, loss=0.0, accuracy=0.0, learning_rate=0.0),
            JobEpoch(job_id=job.id, epoch=1, step=1, seconds=1.0, is_best=True, **scores),
            GpuLease(gpu=product, job_id=job.id, fence=1),
            MlflowRun(job_id=job.id, ended_at=utc_now()),
            Sweep(
                id=f"swp_{product}", product_id=product, dataset_id=dataset.id, status="running",
                plan=SWEEP_PLAN.model_dump(mode="json"), candidates=[], events=[],
            ),
        ]
    )  # fmt: skip


@pytest.fixture
def bound(any_context: AppContext) -> Database:
    """The database with one row in each table for ``mine`` and one for ``theirs``; a key of ``mine``."""
    with any_context.db.write() as session:
        for product in ("mine", "theirs"):
            add_one_of_each(session, product)
    return any_context.db.on_behalf_of(Caller("key_1", "k", frozenset(), frozenset({"mine"})))


def test_every_table_is_limited_or_free_for_a_reason() -> None:
    assert sorted(map(str, TABLES)) == sorted(map(str, [*LIMITED, *FREE]))
    assert all(FREE.values())


@every_limited
def test_no_statement_reads_rows_of_another_product(bound: Database, table: type[Base]) -> None:
    column = getattr(table, table.__mapper__.primary_key[0].name)
    other = aliased(table)
    with bound.read() as session:
        for count in (
            len(session.scalars(select(table)).all()),
            len(session.scalars(select(column)).all()),
            len(
                session.execute(select(table, other).join(other, column == getattr(other, column.key))).all()
            ),
            session.scalar(select(func.count()).select_from(table)),
            session.scalar(select(func.count(column))),
            session.scalar(select(func.count()).select_from(select(table).subquery())),
            len(session.scalars(select(Product.id).where(select(table).exists())).all()),
            len(session.scalars(select(column).union_all(select(column).where(column.is_(None)))).all()),
        ):
            assert count == 1


@every_limited
def test_no_row_of_another_product_is_got_by_its_key(
    any_context: AppContext, bound: Database, table: type[Base]
) -> None:
    with any_context.db.read() as session:
        rows = session.scalars(select(table)).all()
        keys = [table.__mapper__.primary_key_from_instance(row) for row in rows]
    with bound.write() as session:
        for for_update in (None, True, {"read": True}):
            found = [session.get(table, tuple(key), with_for_update=for_update) for key in keys]
            assert len([row for row in found if row is not None]) == 1
            session.expire_all()


@every_limited
def test_no_statement_changes_or_deletes_rows_of_another_product(
    any_context: AppContext, bound: Database, table: type[Base]
) -> None:
    column = next(
        getattr(table, one.key)
        for one in table.__mapper__.column_attrs
        if not one.columns[0].primary_key and not one.columns[0].foreign_keys
    )
    with bound.write() as session:
        changed = session.execute(update(table).values({column.key: column}))
        assert changed.rowcount == 1  # type: ignore[attr-defined]
        returned = session.scalars(
            update(table)
            .values({column.key: column})
            .returning(column)
            .execution_options(synchronize_session=False)
        )
        assert len(returned.all()) == 1
    before = dump(any_context)
    with suppress(RuntimeError), bound.write() as session:
        if table not in (Product, Dataset, Job, TrainedModel):
            assert session.execute(delete(table)).rowcount == 1  # type: ignore[attr-defined]
        raise RuntimeError
    assert dump(any_context) == before


@pytest.mark.parametrize("table", [Dataset, Alias])
def test_no_row_is_made_for_another_product(bound: Database, table: type[Base]) -> None:
    row: Base = Dataset(id="dst_new", product_id="theirs", status="ready", source="x")
    if table is Alias:
        row = Alias(product_id="theirs", name="canary", model_id="mdl_theirs")
    with pytest.raises(NotFoundError), bound.write() as session:
        session.add(row)


def test_a_key_whose_products_are_all_deleted_sees_nothing(bound: Database) -> None:
    nobody = bound.on_behalf_of(Caller("key_1", "k", frozenset(), frozenset()))
    with nobody.read() as session:
        assert [len(session.scalars(select(table)).all()) for table in LIMITED] == [0] * len(LIMITED)


def test_who_is_bound_to_nothing_sees_everything(any_context: AppContext, bound: Database) -> None:
    for database in (any_context.db, bound.on_behalf_of(Caller("key_2", "k", frozenset()))):
        with database.read() as session:
            assert session.scalar(select(func.count()).select_from(Job)) == 2


def test_services_and_routes_name_classes_alone() -> None:
    """Raw SQL, and the tables behind the classes, would pass the limits."""
    for folder in ("services", "api"):
        for path in (ROOT / "app" / folder).glob("*.py"):
            source = path.read_text(encoding="utf-8")
            assert "__table__" not in source, path
            assert not re.search(r"from sqlalchemy import [^\n]*\btext\b", source), path
