"""A disk that has little space left and of which that was said; there is no row while it has enough."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt


class LowDisk(CreatedAt, Base):
    __tablename__ = "low_disks"

    name: Mapped[str] = mapped_column(String(300), primary_key=True)
    """The host whose home folder it is, or that of the home folder that hosts share."""
