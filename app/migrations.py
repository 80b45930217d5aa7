"""Bringing the database's schema up to date, and telling whether it is."""

from __future__ import annotations

import logging
import time
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from app.db import Database
from app.errors import LoupeError, UnavailableError

logger = logging.getLogger(__name__)

SCRIPTS = Path(__file__).resolve().parent.parent / "migrations"


class SchemaError(LoupeError):
    status, code, title = 500, "schema", "The database does not fit this version"


def alembic_config(database: Database) -> Config:
    """The Alembic configuration bound to ``database``."""
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS))
    config.attributes["engine"] = database.engine
    return config


def upgrade(database: Database) -> None:
    """Applies every migration that the database lacks; raises SchemaError when it is newer than this code."""
    try:
        command.upgrade(alembic_config(database), "head")
    except CommandError as error:
        raise SchemaError(
            f"The database cannot be migrated: {error}",
            hint="A newer Loupe has used it: run that version, or restore a backup from before.",
        ) from error


def move_to(database: Database, revision: str) -> None:
    """Takes the schema up or down to ``revision``; raises SchemaError for one that this code does not know.

    On the way down go the tables and columns that came later, with what they hold.
    """
    order = _read_order()
    if revision not in order:
        raise SchemaError(
            f"There is no migration {revision!r} here.", hint=f"There are, newest first: {', '.join(order)}."
        )
    with database.read() as session:
        current = MigrationContext.configure(session.connection()).get_current_revision()
    if current is not None and current not in order:
        raise SchemaError(
            f"A newer Loupe has migrated the database, to {current}.",
            hint="Go back with that version, or restore a backup from before.",
        )
    is_down = current is not None and order.index(revision) > order.index(current)
    (command.downgrade if is_down else command.upgrade)(alembic_config(database), revision)


def is_behind(database: Database) -> bool:
    """Whether migrations are missing. False when a newer Loupe added some: it keeps what this one uses."""
    order = _read_order()
    with database.read() as session:
        current = MigrationContext.configure(session.connection()).get_current_revision()
    return current is None or (current in order and current != order[0])


@cache
def _read_order() -> tuple[str, ...]:
    """All revisions, the newest first. Read once: probes ask often, and each reading imports every script."""
    return tuple(script.revision for script in ScriptDirectory(str(SCRIPTS)).walk_revisions())


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
