"""Times that a client sends."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AwareDatetime, BeforeValidator


def _require_date(given: object) -> object:
    """Pydantic would take a number for seconds since 1970, which no document says."""
    if isinstance(given, int | float) or (isinstance(given, str) and not re.match(r"\d{4}-\d\d-\d\d", given)):
        raise ValueError("a time is written as 2026-01-31T08:00:00Z")
    return given


Moment = Annotated[AwareDatetime, BeforeValidator(_require_date)]
"""A date and a time, with its zone."""
