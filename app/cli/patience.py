"""Waiting for what is away: said once, asked again after pauses that grow, and said once that it is back."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from app.cli.client import ServerError
from app.cli.console import format_seconds, note
from app.errors import LoupeError

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
# A server may ask for more patience than that; it is asked once an hour all the same.
LONGEST_OBEYED_SECONDS = 3600.0

Value = TypeVar("Value")


class Patience:
    """``what``: who may be away, as a sentence begins. ``at_most``: seconds, then its error is raised."""

    def __init__(self, what: str, passes: Callable[[Exception], bool], *, at_most: float | None) -> None:
        self._what, self._passes, self._at_most = what, passes, at_most

    def insist(self, attempt: Callable[[], Value]) -> Value:
        """What ``attempt`` returns, once it does not fail by an error that passes by itself."""
        away_since, pause = None, FIRST_PAUSE_SECONDS
        while True:
            try:
                value = attempt()
            except (LoupeError, OSError) as error:
                if not self._passes(error):
                    raise
                now = time.monotonic()
                # Many clients that come back at once would throw the server down again.
                wait = _asked_seconds(error) or pause * random.uniform(0.75, 1.25)
                if self._at_most is not None and now + wait > (away_since or now) + self._at_most:
                    raise
                if away_since is None:
                    away_since = now
                    note(f"{_describe(error)} Waiting until it can go on.", style="yellow")
                time.sleep(wait)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                if away_since is not None:
                    away = format_seconds(time.monotonic() - away_since)
                    note(f"{self._what} is back after {away}.", style="green")
                return value


def _asked_seconds(error: Exception) -> float | None:
    if isinstance(error, ServerError) and error.retry_after_seconds is not None:
        return min(error.retry_after_seconds, LONGEST_OBEYED_SECONDS)
    return None


def _describe(error: LoupeError | OSError) -> str:
    if isinstance(error, LoupeError):
        return error.detail
    return f"{error.filename}: {error.strerror}."
