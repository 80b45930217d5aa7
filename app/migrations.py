"""Bringing the database's schema up to date, or to another revision."""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.util import CommandError

from app.db import Database
from app.schema_version import SCRIPTS, SchemaError, read_current, read_order


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
    order = read_order()
    if revision not in order:
        raise SchemaError(
            f"There is no migration {revision!r} here.", hint=f"There are, newest first: {', '.join(order)}."
        )
    current = read_current(database)
    if current is not None and current not in order:
        raise SchemaError(
            f"A newer Loupe has migrated the database, to {current}.",
            hint="Go back with that version, or restore a backup from before.",
        )
    is_down = current is not None and order.index(revision) > order.index(current)
    (command.downgrade if is_down else command.upgrade)(alembic_config(database), revision)
