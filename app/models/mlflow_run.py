"""The end of a training on its way to an MLflow server: how often it was tried, when it is tried again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Float, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, UtcDateTime


class MlflowRun(CreatedAt, Base):
    __tablename__ = "mlflow_runs"

    # No foreign key: a job is deleted although its run is on its way.
    job_id: Mapped[str] = mapped_column(String(40), primary_key=True)
    ended_at: Mapped[datetime] = mapped_column(UtcDateTime)
    """Which end: a job that was retried ends again, and that is another run."""
    attempts: Mapped[int] = mapped_column(Integer, default=0)
    """Counted when one begins. It is the fence too: only the newest attempt writes what came of it."""
    next_attempt_at: Mapped[float | None] = mapped_column(Float(53), index=True)
    """By the database's clock, in seconds; null once it was sent."""
    run_id: Mapped[str | None] = mapped_column(String(64))
    """MLflow's id."""
    error: Mapped[str | None] = mapped_column(String(1000))
    """Why the last attempt failed."""
