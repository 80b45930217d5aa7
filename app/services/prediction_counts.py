"""How many images each product was asked about, by day: counted in memory, written now and then.

A process that is killed loses what it counted since it last wrote: the figures are for people to look at.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.db import Database, upsert
from app.errors import LoupeError
from app.models import PredictionDay, Product
from app.models.base import utc_now
from app.schemas.prediction_day import PredictionCounts
from app.schemas.prediction_day import PredictionDay as DaySchema
from app.services.products import require_product

logger = logging.getLogger(__name__)

WRITE_SECONDS = 10.0


@dataclass(frozen=True)
class Tally:
    """``rejected``: of the ``answered``; ``answered``: of the ``images``."""

    images: int = 0
    answered: int = 0
    rejected: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.images + other.images, self.answered + other.answered, self.rejected + other.rejected
        )


Tallies = Mapping[tuple[str, date], Tally]


class Counter:
    """The counts of one process that are not written yet. No prediction waits for them."""

    def __init__(self, today: Callable[[], date] = lambda: utc_now().date()) -> None:
        self._today = today
        self._lock = threading.Lock()
        self._tallies: dict[tuple[str, date], Tally] = {}
        self._written = time.monotonic()

    def add(self, product: str, tally: Tally) -> None:
        key = (product, self._today())
        with self._lock:
            self._tallies[key] = self._tallies.get(key, Tally()) + tally

    def write_now_and_then(self, db: Database) -> None:
        """Writes what has come, at most every few seconds. Raises UnavailableError; then it is kept."""
        if time.monotonic() - self._written >= WRITE_SECONDS:
            self.write(db)

    def write(self, db: Database) -> None:
        self._written = time.monotonic()
        with self._lock:
            due, self._tallies = self._tallies, {}
        if not due:
            return
        try:
            with db.write() as session:
                add_tallies(session, due)
        except BaseException:
            with self._lock:
                for key, tally in due.items():
                    self._tallies[key] = self._tallies.get(key, Tally()) + tally
            raise

    def close(self, db: Database) -> None:
        try:
            self.write(db)
        except LoupeError as error:
            logger.warning("predictions: the last counts are lost: %s", error.detail)


def add_tallies(session: Session, tallies: Tallies) -> None:
    """Adds to what is counted already; a product that is gone is passed over."""
    # Held, so that none is deleted before its row is there.
    products = sorted({product for product, _ in tallies})
    held = select(Product.id).where(Product.id.in_(products)).order_by(Product.id).with_for_update(read=True)
    known = set(session.scalars(held))
    rows = [
        {"product_id": product, "day": day, **vars(tally)}
        for (product, day), tally in sorted(tallies.items(), key=lambda entry: entry[0])
        if product in known
    ]
    upsert(session, PredictionDay, rows, ("product_id", "day"), is_sum=True)


def read_counts(context: AppContext, product_id: str, *, days: int) -> PredictionCounts:
    """Of the last ``days`` with today, the oldest first; a day without any is there too."""
    today = utc_now().date()
    first = today - timedelta(days=days - 1)
    with context.db.read() as session:
        require_product(session, product_id)
        rows = session.scalars(
            select(PredictionDay).where(PredictionDay.product_id == product_id, PredictionDay.day >= first)
        )
        found = {row.day: Tally(row.images, row.answered, row.rejected) for row in rows}
    listed = [first + timedelta(days=number) for number in range(days)]
    return PredictionCounts(
        data=[DaySchema(day=day, **vars(found.get(day, Tally()))) for day in listed],
    )
