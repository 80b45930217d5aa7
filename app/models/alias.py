"""An alias: a movable name for a model of a product. ``champion`` is what predictions come from."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, UtcDateTime, utc_now

CHAMPION = "champion"
TOPIC = "models"
"""What the move of an alias and the end of a model are noted under (``app/changes.py``)."""


class Alias(Base):
    __tablename__ = "aliases"

    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("models.id"))
    moved_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, onupdate=utc_now)
