"""A product: a thing whose images are classified."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Float, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Json

TOPIC = "products"
"""What the end of a product is noted under (``app/changes.py``)."""


class Product(CreatedAt, Base):
    __tablename__ = "products"

    id: Mapped[str] = mapped_column(String(63), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    default_network: Mapped[str | None] = mapped_column(String(64))
    min_accuracy: Mapped[float | None] = mapped_column(Float)
    gate_limits: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """Recall floors, size and latency limits: what ``app/schemas/gate.py`` has beside the least accuracy."""
    max_error: Mapped[float | None] = mapped_column(Float)
    """The share of accepted answers that may be wrong; null: as of products that say nothing."""
    last_model_version: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    """The last number given to a model of it. A deleted one leaves a gap: ``product@3`` names one model for
    ever."""
