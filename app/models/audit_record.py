"""Who did or tried what, when and from where. Rows are added, and removed by age alone."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Json


class AuditRecord(CreatedAt, Base):
    """No foreign keys: a record outlives the key, the product and the things that it names."""

    __tablename__ = "audit_records"
    __table_args__ = (Index(None, "created_at"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    key_id: Mapped[str | None] = mapped_column(String(40))
    caller: Mapped[str | None] = mapped_column(String(200))
    """Name of the key at that time; null: whoever it was showed none that is known."""
    by_session: Mapped[bool]
    action: Mapped[str] = mapped_column(String(200))
    """The method and the route's template."""
    product_id: Mapped[str | None] = mapped_column(String(63))
    things: Mapped[list[Any]] = mapped_column(Json)
    outcome: Mapped[str] = mapped_column(String(20))
    status: Mapped[int]
    address: Mapped[str | None] = mapped_column(String(64))
    request_id: Mapped[str | None] = mapped_column(String(128))
    times: Mapped[int] = mapped_column(default=1)
    """More than one where attempts of one minute were counted together."""
