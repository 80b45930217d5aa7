"""A model: a trained artifact (a folder) and its row."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Index, Integer, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Json


class TrainedModel(CreatedAt, Base):
    __tablename__ = "models"
    __table_args__ = (Index(None, "product_id", "id"), UniqueConstraint("product_id", "version"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    product_id: Mapped[str] = mapped_column(ForeignKey("products.id"))
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), unique=True)
    dataset_id: Mapped[str | None] = mapped_column(ForeignKey("datasets.id"))
    """Null: another Loupe trained it, see ``origin``."""
    version: Mapped[int] = mapped_column(Integer)
    network: Mapped[str] = mapped_column(String(64))
    folder: Mapped[str] = mapped_column(String(200))
    digest: Mapped[str] = mapped_column(String(80))
    weights_sha256: Mapped[str] = mapped_column(String(64))
    bytes: Mapped[int] = mapped_column(BigInteger)
    labels: Mapped[list[str]] = mapped_column(Json)
    metrics: Mapped[dict[str, Any]] = mapped_column(Json)
    serving: Mapped[dict[str, Any]] = mapped_column(Json)
    calibration: Mapped[dict[str, Any] | None] = mapped_column(Json)
    decision: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """Sections of its manifest; null: an older Loupe made it, without."""
    passed_gate: Mapped[bool | None] = mapped_column(Boolean)
    """Null: a worker of the first release made it, which kept only what passed."""
    exports: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """By format, what a worker has made of it: ``app/schemas/model.py``, StoredExport."""
    origin: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """Where it comes from, if not from a training here: ``app/schemas/model.py``, ModelOrigin."""
