"""A key that a client shows: what it may do, in which products, until when. Of secrets, hashes are kept."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Json, UtcDateTime


class ApiKey(CreatedAt, Base):
    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    prefix: Mapped[str] = mapped_column(String(16), unique=True)
    """The part of the key that may be shown."""
    secret_sha256: Mapped[str] = mapped_column(String(64))
    # The secret before the last rotation, which is good until then.
    previous_sha256: Mapped[str | None] = mapped_column(String(64))
    previous_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    scopes: Mapped[list[Any]] = mapped_column(Json)
    products: Mapped[list[str] | None] = mapped_column(Json)
    """Ids of the products that it is bound to. Null: bound to none; empty: all of them were deleted."""
    limits: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """Those that it states; see ``app/schemas/limits.py``."""
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    rotated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """To the minute."""
