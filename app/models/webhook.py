"""A webhook: an address that is sent what happens, with the secret that signs it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Json, UtcDateTime


class Webhook(CreatedAt, Base):
    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    url: Mapped[str] = mapped_column(String(2048))
    events: Mapped[list[str] | None] = mapped_column(Json)
    """The types that it takes; null: all, also those of later releases."""
    products: Mapped[list[str] | None] = mapped_column(Json)
    """Null: all, and what is of no product. Empty: all of them were deleted."""
    note: Mapped[str | None] = mapped_column(String(200))
    secret: Mapped[str] = mapped_column(String(200))
    """In clear: a hash cannot sign."""
    old_secret: Mapped[str | None] = mapped_column(String(200))
    """The one before the last rotation, which signs too for a while."""
    rotated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    is_enabled: Mapped[bool] = mapped_column(Boolean, default=True)
    disabled_reason: Mapped[str | None] = mapped_column(String(1000))
    """Why Loupe disabled it; null where a client did."""
