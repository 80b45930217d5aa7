"""What a check finds, and what it is given to look at."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from app.changes import Changes
from app.config import Settings
from app.context import AppContext
from app.db import Database
from app.job_queue import JobQueue
from app.storage.home import open_storage

Status = Literal["ok", "warning", "failed", "skipped"]


@dataclass(frozen=True)
class Finding:
    """``hint`` says what to do; an ``ok`` needs none."""

    check: str
    status: Status
    detail: str
    hint: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def ok(check: str, detail: str) -> Finding:
    return Finding(check, "ok", detail)


def warning(check: str, detail: str, hint: str) -> Finding:
    return Finding(check, "warning", detail, hint)


def failed(check: str, detail: str, hint: str) -> Finding:
    return Finding(check, "failed", detail, hint)


@dataclass(frozen=True)
class Installation:
    """The Loupe that the settings name. ``is_deep``: slow checks too."""

    settings: Settings
    is_deep: bool = False

    @cached_property
    def db(self) -> Database:
        return Database(self.settings.resolved_database_url)

    @cached_property
    def context(self) -> AppContext:
        """Opened without making the home folder: looking changes nothing."""
        storage, queue = open_storage(self.settings), JobQueue(self.settings)
        return AppContext(self.settings, self.db, storage, queue, Changes(self.db))

    def close(self) -> None:
        """Ends what was opened on the way."""
        for name, opened in vars(self).items():
            if name == "db":
                opened.dispose()
            elif name == "context":
                opened.close()

    @property
    def is_embedded(self) -> bool:
        """Whether Redis is the one that `loupe up` starts."""
        return self.settings.redis_url is None
