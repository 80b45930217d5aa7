"""A product: a thing whose pictures are classified."""

from __future__ import annotations

from sqlalchemy import Float, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt


class Product(CreatedAt, Base):
    __tablename__ = "products"

    id: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    default_network: Mapped[str | None] = mapped_column(String(64))
    min_accuracy: Mapped[float | None] = mapped_column(Float)
