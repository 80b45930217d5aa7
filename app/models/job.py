"""A job: a training run, or an import or evaluation under the same protocol."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Boolean, Float, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Json, UtcDateTime


class Job(CreatedAt, Base):
    __tablename__ = "jobs"
    __table_args__ = (Index(None, "status", "kind"), Index(None, "product_id", "id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"))
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    parent_id: Mapped[str | None] = mapped_column(ForeignKey("jobs.id"), index=True)
    """The job that asked for this one."""
    # No foreign key: SQLite would have to rewrite the table for one. Sweeps are deleted with their jobs.
    sweep_id: Mapped[str | None] = mapped_column(String(40), index=True)
    """The sweep of which it is a candidate."""
    # No foreign key: the key may be deleted.
    key_id: Mapped[str | None] = mapped_column(String(40), index=True)
    """The key that queued it last, and whose limit it counts for."""
    status: Mapped[str] = mapped_column(String(16))
    stage: Mapped[str | None] = mapped_column(String(16))
    stop_reason: Mapped[str | None] = mapped_column(String(32))
    network: Mapped[str | None] = mapped_column(String(64))
    hyperparameters: Mapped[dict[str, Any] | None] = mapped_column(Json)
    split: Mapped[dict[str, Any] | None] = mapped_column(Json)
    device: Mapped[str] = mapped_column(String(8), default="auto", server_default="auto")
    gpus: Mapped[int] = mapped_column(Integer, default=1, server_default="1")
    ran_on: Mapped[dict[str, Any] | None] = mapped_column(Json)
    payload: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    annotations: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    progress: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    best: Mapped[dict[str, Any] | None] = mapped_column(Json)
    gate_rules: Mapped[dict[str, Any] | None] = mapped_column(Json)
    gate: Mapped[dict[str, Any] | None] = mapped_column(Json)
    result: Mapped[dict[str, Any] | None] = mapped_column(Json)
    error: Mapped[dict[str, Any] | None] = mapped_column(Json)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

    # The lease: who runs the job, until when (database clock, seconds), and the fencing token of that claim.
    attempt: Mapped[int] = mapped_column(Integer, default=0)
    attempts_without_checkpoint: Mapped[int] = mapped_column(Integer, default=0)
    fence: Mapped[int] = mapped_column(Integer, default=0)
    lease_owner: Mapped[str | None] = mapped_column(String(200))
    lease_until: Mapped[float | None] = mapped_column(Float(53))
    dispatched_at: Mapped[float | None] = mapped_column(Float(53))
    cancel_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    stop_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    pause_requested: Mapped[bool] = mapped_column(Boolean, default=False)
    last_event: Mapped[int] = mapped_column(Integer, default=0)

    @property
    def dataset(self) -> str:
        """The dataset's id, for kinds of job that have one."""
        assert self.dataset_id is not None
        return self.dataset_id

    @property
    def is_planned(self) -> bool:
        """False for a training that was accepted while its dataset was importing, until it is claimed."""
        return self.split is None or self.split.get("counts", {}) is not None
