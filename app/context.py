"""The opened parts that one process of Loupe works with, passed to every service verb."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

from app.config import Settings
from app.db import Database
from app.job_queue import JobQueue
from app.storage.home import Storage, open_storage


@dataclass(frozen=True)
class AppContext:
    settings: Settings
    db: Database
    storage: Storage
    queue: JobQueue
    last_choices: dict[tuple[str | None, ...], Any] = field(default_factory=dict)
    """Which model answered which question last, for when the database is away."""
    new_uploads: threading.Event = field(default_factory=threading.Event)
    """Set when an upload has come that other hosts do not see yet."""

    @classmethod
    def open(cls, settings: Settings) -> AppContext:
        """Opens everything lazily connectable; nothing is contacted yet but the home folder is made."""
        storage = open_storage(settings)
        storage.create()
        return cls(settings, Database(settings.resolved_database_url), storage, JobQueue(settings))

    def close(self) -> None:
        self.queue.close()
        self.db.dispose()
