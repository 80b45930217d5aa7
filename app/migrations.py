"""Bringing the database's schema up to date, and telling whether it is."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from app.db import Database
from app.errors import LoupeError

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


def is_current(database: Database) -> bool:
    """Whether the database has every migration that this code knows."""
    head = ScriptDirectory(str(SCRIPTS)).get_current_head()
    with database.read() as session:
        return MigrationContext.configure(session.connection()).get_current_revision() == head
