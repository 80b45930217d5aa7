"""Predictions by day: counted in memory, added up in the database, of no product that is gone"""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text

from app.context import AppContext
from app.errors import UnavailableError
from app.models import PredictionDay, Product
from app.models.base import utc_now
from app.services import deletions
from app.services.prediction_counts import Counter, Tally, read_counts
from tests.conftest import Trained
from tests.pictures import make_picture

DAY = date(2026, 1, 2)


def rows(context: AppContext) -> list[tuple[str, date, int, int, int]]:
    with context.db.read() as session:
        found = session.scalars(select(PredictionDay).order_by(PredictionDay.product_id, PredictionDay.day))
        return [(row.product_id, row.day, row.images, row.answered, row.rejected) for row in found]


@pytest.fixture
def counted(any_context: AppContext) -> AppContext:
    with any_context.db.write() as session:
        session.add_all([Product(id=one, name=one) for one in ("nuts", "screws")])
    return any_context


def test_what_processes_count_is_added_up_by_product_and_day(counted: AppContext) -> None:
    days = iter([DAY, DAY, DAY + timedelta(days=1), DAY])
    first, second = Counter(lambda: next(days)), Counter(lambda: DAY)
    first.add("screws", Tally(3, 2, 1))
    first.add("screws", Tally(1, 1, 0))
    first.add("screws", Tally(5, 5, 0))
    first.add("nuts", Tally(1, 0, 0))
    second.add("screws", Tally(10, 10, 4))
    for counter in (first, second, first):
        counter.write(counted.db)
    assert rows(counted) == [
        ("nuts", DAY, 1, 0, 0),
        ("screws", DAY, 14, 13, 5),
        ("screws", DAY + timedelta(days=1), 5, 5, 0),
    ]


def test_a_product_that_is_gone_takes_no_counts_and_keeps_none_from_others(counted: AppContext) -> None:
    counter = Counter(lambda: DAY)
    for product in ("nuts", "screws"):
        counter.add(product, Tally(1, 1, 0))
    counter.write(counted.db)
    counter.add("nuts", Tally(1, 1, 0))
    counter.add("screws", Tally(1, 1, 0))
    deletions.delete_product(counted, "nuts")
    counter.write(counted.db)
    assert rows(counted) == [("screws", DAY, 2, 2, 0)]


def test_what_the_database_did_not_take_is_written_later(context: AppContext) -> None:
    with context.db.write() as session:
        session.add(Product(id="screws", name="screws"))
    counter = Counter(lambda: DAY)
    counter.add("screws", Tally(2, 2, 0))
    with context.db.write() as session:
        session.execute(text("ALTER TABLE prediction_days RENAME TO away"))
    with pytest.raises(UnavailableError):
        counter.write(context.db)
    counter.add("screws", Tally(1, 1, 1))
    with context.db.write() as session:
        session.execute(text("ALTER TABLE away RENAME TO prediction_days"))
    counter.close(context.db)
    assert rows(context) == [("screws", DAY, 3, 3, 1)]


def test_days_without_any_are_listed_too(counted: AppContext) -> None:
    counter = Counter()
    counter.add("screws", Tally(2, 2, 0))
    counter.write(counted.db)
    counts = read_counts(counted, "screws", days=3).data
    today = utc_now().date()
    assert [one.day for one in counts] == [today - timedelta(days=2), today - timedelta(days=1), today]
    assert [one.images for one in counts] == [0, 0, 2]


def test_each_way_to_ask_is_counted(trained: Trained) -> None:
    client: TestClient = trained.client

    def count() -> tuple[int, int]:
        client.app.state.prediction_counter.write(trained.context.db)  # type: ignore[attr-defined]
        today = client.get("/products/squares/prediction-counts?days=1").json()["data"][-1]
        return today["images"], today["answered"]

    before = count()
    files = [("file", ("a.png", make_picture("red", 5))), ("file", ("b.png", b"no image"))]
    client.post("/predict", data={"product": "squares"}, files=files[:1]).raise_for_status()
    client.post("/predict", data={"product": "squares"}, files=files).raise_for_status()
    assert client.post("/predict", data={"product": "squares"}, files=files[1:]).status_code == 422
    after = count()
    assert (after[0] - before[0], after[1] - before[1]) == (4, 2)
    assert client.get("/products/nothing/prediction-counts").status_code == 404
    assert client.get("/products/squares/prediction-counts?days=0").status_code == 422
