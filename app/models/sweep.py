"""A sweep: many trainings on one split, of which the best by validation becomes a model."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Json, UtcDateTime


class Sweep(CreatedAt, Base):
    __tablename__ = "sweeps"
    __table_args__ = (Index(None, "status"), Index(None, "product_id", "id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"))
    # No foreign key: what was compared is still read when the dataset is gone.
    dataset_id: Mapped[str] = mapped_column(String(40))
    key_id: Mapped[str | None] = mapped_column(String(40))
    """The key that asked for it, and whose limit its jobs count for. It may be deleted since."""
    status: Mapped[str] = mapped_column(String(16))
    plan: Mapped[dict[str, Any]] = mapped_column(Json)
    """What was decided when it was accepted: ``app.schemas.sweep_state.SweepPlan``."""
    candidates: Mapped[list[dict[str, Any]]] = mapped_column(Json)
    """One ``app.schemas.sweep_state.Candidate`` a training."""
    rung: Mapped[int] = mapped_column(Integer, default=0)
    """How many cuts there have been."""
    winner: Mapped[str | None] = mapped_column(String(40))
    """The job that becomes the model, once it is chosen."""
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """Why it ends without a model; its candidates may still have to leave."""
    events: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
