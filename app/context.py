"""The opened parts that one process of Loupe works with, passed to every service verb."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace

from app.changes import Changes
from app.config import Settings
from app.db import Database, Recorder
from app.job_queue import JobQueue
from app.schemas.caller import Caller
from app.storage.home import Storage, open_storage


@dataclass(frozen=True)
class AppContext:
    settings: Settings
    db: Database
    storage: Storage
    queue: JobQueue
    changes: Changes
    new_uploads: threading.Event = field(default_factory=threading.Event)
    """Set when an upload has come that other hosts do not see yet."""

    @classmethod
    def open(cls, settings: Settings) -> AppContext:
        """Opens everything lazily connectable; nothing is contacted yet but the home folder is made."""
        storage = open_storage(settings)
        storage.create()
        db = Database(settings.resolved_database_url)
        return cls(settings, db, storage, JobQueue(settings), Changes(db))

    def on_behalf_of(self, caller: Caller) -> AppContext:
        """The same parts as ``caller`` may use them; see ``Database.on_behalf_of``."""
        return replace(self, db=self.db.on_behalf_of(caller))

    def recorded_by(self, recorder: Recorder) -> AppContext:
        """The same parts, with what they change in the database recorded."""
        return replace(self, db=self.db.recorded_by(recorder))

    def close(self) -> None:
        self.queue.close()
        self.db.dispose()
