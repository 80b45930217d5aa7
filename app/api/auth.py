"""Who may ask: the API key."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Header

from app.api.dependencies import ContextDep
from app.errors import UnauthorizedError


def require_api_key(
    context: ContextDep,
    authorization: Annotated[str | None, Header()] = None,
) -> None:
    """Asks for the bearer token where one is set; compared in constant time."""
    secret = context.settings.api_key
    if secret is None:
        return
    scheme, _, token = (authorization or "").partition(" ")
    given, expected = token.strip().encode(), secret.get_secret_value().encode()
    if scheme.lower() != "bearer" or not hmac.compare_digest(given, expected):
        raise UnauthorizedError(
            "This server wants its API key.", hint="Send `Authorization: Bearer <LOUPE_API_KEY>`."
        )
