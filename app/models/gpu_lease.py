"""The training that has a GPU; see ``app.jobs.gpu_leases``."""

from __future__ import annotations

from sqlalchemy import Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class GpuLease(Base):
    """Good as long as the job runs under that fence, and no longer."""

    __tablename__ = "gpu_leases"

    gpu: Mapped[str] = mapped_column(String(100), primary_key=True)
    job_id: Mapped[str | None] = mapped_column(String(40))
    fence: Mapped[int | None] = mapped_column(Integer)
