"""Who asks: found once a request, and handed on to what limits, counts or records it."""

from __future__ import annotations

from dataclasses import dataclass

from app.schemas.limits import NO_LIMITS, Limits
from app.schemas.scopes import SCOPES, Scope


@dataclass(frozen=True)
class Caller:
    """``key_id``: None for LOUPE_API_KEY and where no key is asked for. ``products``: None where bound to
    none. ``scopes``: all that the key's own imply.
    """

    key_id: str | None
    name: str
    scopes: frozenset[Scope]
    products: frozenset[str] | None = None
    limits: Limits = NO_LIMITS
    address: str | None = None
    request_id: str | None = None


ANYBODY = Caller(None, "anybody", frozenset(SCOPES))
"""Where no key is asked for."""
