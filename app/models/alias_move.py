"""A move of an alias: from which model to which, when, by whom and why. Rows are only added."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Boolean, ForeignKey, Index, String, false
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, UtcDateTime, utc_now


class AliasMove(Base):
    __tablename__ = "alias_moves"
    __table_args__ = (Index(None, "product_id", "name", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"))
    name: Mapped[str] = mapped_column(String(63))
    # No foreign keys: the history outlives the models.
    from_model: Mapped[str | None] = mapped_column(String(40))
    to_model: Mapped[str | None] = mapped_column(String(40))
    moved_by: Mapped[str | None] = mapped_column(String(200))
    """The job whose end moved the alias; null where a client asked for it."""
    reason: Mapped[str | None] = mapped_column(String(2000))
    is_override: Mapped[bool] = mapped_column(Boolean, default=False)
    """Whether the model was promoted although its gate had not let it pass."""
    is_rollback: Mapped[bool] = mapped_column(Boolean, default=False, server_default=false())
    """Whether it went back to the model before."""
    moved_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
