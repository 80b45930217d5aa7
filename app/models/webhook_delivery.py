"""An event on its way to one webhook: how often it was tried, what came back, when it is tried again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Float, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, UtcDateTime


class WebhookDelivery(CreatedAt, Base):
    __tablename__ = "webhook_deliveries"
    __table_args__ = (Index(None, "webhook_id", "id"), Index(None, "event_id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    # No foreign key: the end of a job must not fail because a webhook was deleted a moment ago.
    webhook_id: Mapped[str] = mapped_column(String(40))
    event_id: Mapped[str] = mapped_column(ForeignKey("webhook_events.id", ondelete="CASCADE"))
    status: Mapped[str] = mapped_column(String(16), default="pending")
    """pending, delivered or failed."""
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    """Counted when one begins. It is the fence too: only the newest attempt writes what came of it."""
    scheduled_after: Mapped[int] = mapped_column(Integer, default=0)
    """How many attempts there had been when a client last asked to try again: the schedule begins anew."""
    next_attempt_at: Mapped[float | None] = mapped_column(Float(53), index=True)
    """By the database's clock, in seconds. While an attempt is made: when it counts as lost."""
    status_code: Mapped[int | None] = mapped_column(Integer)
    error: Mapped[str | None] = mapped_column(String(1000))
    attempted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When the last attempt ended."""
