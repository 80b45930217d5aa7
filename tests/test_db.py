"""Rows that are inserted or changed in one statement, on SQLite and on PostgreSQL."""

from __future__ import annotations

from sqlalchemy import select

from app.context import AppContext
from app.db import upsert
from app.models import GpuLease, Lease


def leases(context: AppContext) -> dict[str, tuple[str, float]]:
    with context.db.read() as session:
        return {row.name: (row.owner, row.until) for row in session.scalars(select(Lease))}


def test_a_row_is_inserted_or_changed_by_its_key(any_context: AppContext) -> None:
    with any_context.db.write() as session:
        upsert(session, Lease, [{"name": "a", "owner": "x", "until": 1.0}], ("name",))
        again = [{"name": name, "owner": "y", "until": 2.0} for name in "ab"]
        assert upsert(session, Lease, again, ("name",)) == []
        upsert(session, Lease, [], ("name",))
    assert leases(any_context) == {"a": ("y", 2.0), "b": ("y", 2.0)}


def test_only_rows_that_meet_the_condition_are_changed_and_returned(any_context: AppContext) -> None:
    with any_context.db.write() as session:
        upsert(session, Lease, [{"name": n, "owner": n, "until": 1.0} for n in "ab"], ("name",))
        rows = [{"name": name, "owner": "new", "until": 2.0} for name in "abc"]
        written = upsert(session, Lease, rows, ("name",), where=Lease.owner == "a", returning=Lease.name)
    assert sorted(written) == ["a", "c"]
    assert leases(any_context) == {"a": ("new", 2.0), "b": ("b", 1.0), "c": ("new", 2.0)}


def test_a_row_that_is_all_key_keeps_its_other_columns(any_context: AppContext) -> None:
    with any_context.db.write() as session:
        upsert(session, GpuLease, [{"gpu": "g", "fence": 3}], ("gpu",))
        upsert(session, GpuLease, [{"gpu": "g"}, {"gpu": "h"}], ("gpu",))
    with any_context.db.read() as session:
        assert {row.gpu: row.fence for row in session.scalars(select(GpuLease))} == {"g": 3, "h": None}
