"""A dataset: an immutable, content-addressed set of labelled images of one product."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Json, UtcDateTime


class Dataset(CreatedAt, Base):
    __tablename__ = "datasets"
    __table_args__ = (Index(None, "product_id", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"))
    key_id: Mapped[str | None] = mapped_column(String(40), index=True)
    """The key that imported it, and whose limit its images count for. It may be deleted since."""
    status: Mapped[str] = mapped_column(String(16))
    source: Mapped[str] = mapped_column(String(1024))
    based_on: Mapped[str | None] = mapped_column(String(40))
    """The dataset of which it is a new version. It may be deleted since."""
    digest: Mapped[str | None] = mapped_column(String(80), index=True)
    classes: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    counts: Mapped[dict[str, Any] | None] = mapped_column(Json)
    items: Mapped[int | None] = mapped_column(Integer)
    skipped: Mapped[int | None] = mapped_column(Integer)
    examination: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """What is known from looking at the images; None: nobody has."""
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    ready_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
