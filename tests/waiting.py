"""Waiting for what another process or thread does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Value = TypeVar("Value")


def wait_for(
    condition: Callable[[], Value | None],
    seconds: float,
    what: str,
    *,
    alive: Callable[[], bool] = lambda: True,
    every: float = 0.05,
) -> Value:
    """The first true value of ``condition()``, asked for ``every`` so many seconds.

    It fails after ``seconds``, or once whoever could make the condition true is no longer ``alive()``.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert alive(), f"{what} did not come: who could bring it has ended"
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(every)
    return value
