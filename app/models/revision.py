"""Marks the state of something that processes keep in memory; see ``app/changes.py``."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base


class Revision(Base):
    __tablename__ = "revisions"

    topic: Mapped[str] = mapped_column(String(63), primary_key=True)
    mark: Mapped[str] = mapped_column(String(32))
    """Another one after each change. No counter: two first changes at once would both be number one."""
