"""An archive that a client sends in pieces, and goes on sending after a cut."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, Json, UtcDateTime


class Upload(CreatedAt, Base):
    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    key_id: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"), index=True)
    """Of the key that sends it, which alone sees it. Null: LOUPE_API_KEY, or none is asked for."""
    name: Mapped[str] = mapped_column(String(1024))
    fingerprint: Mapped[str | None] = mapped_column(String(200))
    """By which the client that began it finds it again."""
    length: Mapped[int] = mapped_column(BigInteger)
    received: Mapped[int] = mapped_column(BigInteger, default=0)
    """Bytes that were acknowledged: those of all ``pieces``."""
    pieces: Mapped[list[str]] = mapped_column(Json, default=list)
    """Names of the files in its folder, in their order."""
    dataset_id: Mapped[str | None] = mapped_column(String(40))
    """What it became; its pieces are gone then."""
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
