"""How processes learn of each other's changes to what each keeps in memory, such as the API keys.

The database says what is true: who changes something gives its topic a new mark in the same transaction.
Each process reads all marks in one query a second, and loads again what has another one. No request waits for
that, and Redis may be away. While the database is away, what was loaded last counts.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from app.db import Database, upsert
from app.errors import LoupeError
from app.models import Revision

logger = logging.getLogger(__name__)

ROUND_SECONDS = 1.0
CLOSE_SECONDS = 2.0
MISS_SECONDS = 0.2
"""How often at most a request that finds nothing makes its process look."""


def note_change(session: Session, topic: str) -> None:
    """Marks ``topic`` as changed, for every process, once the transaction is committed."""
    upsert(session, Revision, [{"topic": topic, "mark": uuid4().hex}], ("topic",))


class Changes:
    """What one process keeps in memory of the database, by topic, and how it loads that."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._loads: dict[str, Callable[[], None]] = {}
        self._seen: dict[str, str | None] = {}
        self._lock = threading.Lock()
        self._looked_at = 0.0

    def register(self, topic: str, load: Callable[[], None]) -> None:
        """From the next look on, ``load`` is called first, and then after each change of ``topic``."""
        self._loads[topic] = load

    def look(self) -> None:
        """Loads what has changed.

        Raises UnavailableError. What could not be loaded is tried again at the next look.
        """
        with self._lock:
            self._look()

    def look_after_a_change(self) -> None:
        """For whoever has committed a change, which stands, whether it can be read at once or not."""
        with suppress(LoupeError):
            self.look()

    def look_after_a_miss(self) -> None:
        """For a request that another process may just have made something for.

        Not while another thread looks, nor within a moment of the last look: a client that guesses makes few
        queries.
        """
        if time.monotonic() - self._looked_at < MISS_SECONDS or not self._lock.acquire(blocking=False):
            return
        try:
            with suppress(LoupeError, DBAPIError):  # the latter: there is no schema yet
                self._look()
        finally:
            self._lock.release()

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        if not self._loads:
            return
        with self._db.read() as session:
            marks = {row.topic: row.mark for row in session.execute(select(Revision.topic, Revision.mark))}
        for topic, load in self._loads.items():
            # The mark was read before the rows: a change in between is loaded once more.
            if topic not in self._seen or self._seen[topic] != marks.get(topic):
                load()
                self._seen[topic] = marks.get(topic)


@contextmanager
def watching(changes: Changes, also: Callable[[], None] = lambda: None) -> Iterator[None]:
    """While the block runs, a thread looks once a second, and calls ``also`` each time."""
    watcher = _Watcher(changes, also)
    watcher.round()
    watcher.start()
    try:
        yield
    finally:
        watcher.close()


class _Watcher(threading.Thread):
    def __init__(self, changes: Changes, also: Callable[[], None]) -> None:
        super().__init__(name="changes", daemon=True)
        self._steps = (changes.look, also)
        self._closed = threading.Event()
        self._has_failed = False

    def run(self) -> None:
        while not self._closed.wait(ROUND_SECONDS):
            self.round()

    def round(self) -> None:
        try:
            for step in self._steps:
                step()
        except Exception as error:
            # Once an outage, not once a second.
            if not self._has_failed:
                known = isinstance(error, LoupeError)
                detail = error.detail if isinstance(error, LoupeError) else "a round failed."
                logger.warning(
                    "changes: %s What was loaded last counts.", detail, exc_info=None if known else error
                )
            self._has_failed = True
        else:
            if self._has_failed:
                logger.info("changes: they are read again")
            self._has_failed = False

    def close(self) -> None:
        self._closed.set()
        self.join(CLOSE_SECONDS)
