"""A worker process that serves a queue. Nothing depends on its row: it is there to be looked at."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Float, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, Json, UtcDateTime


class Worker(Base):
    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    owner: Mapped[str] = mapped_column(String(200))
    """As in ``jobs.lease_owner``: tells which jobs it runs."""
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int] = mapped_column(Integer)
    queue: Mapped[str] = mapped_column(String(64))
    concurrency: Mapped[int] = mapped_column(Integer)
    version: Mapped[str] = mapped_column(String(64))
    devices: Mapped[dict[str, Any]] = mapped_column(Json)
    kinds: Mapped[list[str] | None] = mapped_column(Json)
    """Kinds of job that it knows. Null: a worker of the first release."""
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    beat_at: Mapped[float] = mapped_column(Float(53))
    """By the database's clock, in seconds."""
