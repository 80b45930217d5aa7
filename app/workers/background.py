"""Long work beside the supervisor's own: it may not stop beating its lease while files come or go."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_REQUESTS_SECONDS = 0.2


def run_in_background(work: Callable[[], T], meanwhile: Callable[[], object]) -> T:
    """Runs ``work`` in a thread and calls ``meanwhile`` again and again; returns or raises as ``work`` does.

    What ``meanwhile`` raises ends the wait: the thread is left to itself, and with the process it ends.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="background", daemon=True)
    thread.start()
    while True:
        # Also where the work is soon done: who repeats it for an hour must be asked to leave at some time.
        meanwhile()
        thread.join(POLL_REQUESTS_SECONDS)
        if not thread.is_alive():
            break
    if errors:
        raise errors[0]
    return results[0]
