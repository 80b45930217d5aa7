"""An evaluation: the metrics of one job's model on one untouched split of one dataset."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Boolean, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Json


class Evaluation(CreatedAt, Base):
    __tablename__ = "evaluations"
    __table_args__ = (Index(None, "job_id", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    model_id: Mapped[str | None] = mapped_column(ForeignKey("models.id"))
    dataset_id: Mapped[str] = mapped_column(ForeignKey("datasets.id"))
    is_final_test: Mapped[bool] = mapped_column(Boolean)
    folder: Mapped[str] = mapped_column(String(200))
    report: Mapped[dict[str, Any]] = mapped_column(Json)
