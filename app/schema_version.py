"""Whether the database has all migrations: without Alembic, which only those who migrate need in memory."""

from __future__ import annotations

import logging
import re
import time
from functools import cache
from pathlib import Path

from sqlalchemy import inspect, text

from app.db import Database
from app.errors import LoupeError, UnavailableError

logger = logging.getLogger(__name__)

_PACKED = Path(__file__).resolve().parent / "_migrations"
SCRIPTS = _PACKED if _PACKED.is_dir() else _PACKED.parent.parent / "migrations"
"""A wheel has them inside the package: beside it would be a package of that name for everybody."""
VERSION_TABLE = "alembic_version"
_REVISION = re.compile(r'^revision = "(\w+)"$', re.MULTILINE)


class SchemaError(LoupeError):
    status, code, title = 500, "schema", "The database does not fit this version"


def is_behind(database: Database) -> bool:
    """Whether migrations are missing. False when a newer Loupe added some: it keeps what this one uses."""
    order, current = read_order(), read_current(database)
    return current is None or (current in order and current != order[0])


def read_current(database: Database) -> str | None:
    """The revision of the database's schema; None before the first migration. Raises UnavailableError."""
    with database.read() as session:
        connection = session.connection()
        if not inspect(connection).has_table(VERSION_TABLE):
            return None
        revision: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))
        return revision


@cache
def read_order() -> tuple[str, ...]:
    """All revisions, the newest first. The names of the scripts sort by date; a test says so."""
    scripts = sorted((SCRIPTS / "versions").glob("*.py"), reverse=True)
    return tuple(_REVISION.findall(script.read_text(encoding="utf-8"))[0] for script in scripts)


def wait_until_migrated(database: Database, *, poll_seconds: float = 2.0) -> None:
    """Returns once the database answers and is not behind, however long somebody takes to migrate it."""
    while True:
        try:
            if not is_behind(database):
                return
            reason = "The database must be migrated: run `loupe migrate`."
        except UnavailableError as error:
            reason = error.detail
        logger.warning("%s Waiting.", reason)
        time.sleep(poll_seconds)
