"""A browser that has shown a key and has a cookie for it. The cookie itself is not kept, only its hash."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, CreatedAt, UtcDateTime


class BrowserSession(CreatedAt, Base):
    __tablename__ = "browser_sessions"

    token_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str | None] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"), index=True)
    """Null: of LOUPE_API_KEY."""
    proof: Mapped[str] = mapped_column(String(64))
    """Ties it to the secret that was shown; see ``app/services/key_ring.py``."""
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
