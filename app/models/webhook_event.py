"""Something that happened and that at least one webhook takes, written in the transaction that made it so."""

from __future__ import annotations

from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Json


class WebhookEvent(CreatedAt, Base):
    __tablename__ = "webhook_events"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    type: Mapped[str] = mapped_column(String(64))
    # No foreign key: the log outlives the product.
    product_id: Mapped[str | None] = mapped_column(String(63))
    payload: Mapped[dict[str, Any]] = mapped_column(Json)
    """All that is sent; every attempt sends the same."""
