"""Alembic's entry: runs the migrations on the caller's engine, or on the one that the settings name."""

from __future__ import annotations

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext

from app.config import Settings
from app.db import Database
from app.models import Base
from app.models.base import Json, UtcDateTime


def render_item(kind: str, item: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Names our own column types in a generated migration."""
    name = "UtcDateTime" if isinstance(item, UtcDateTime) else "Json" if item is Json else None
    if kind != "type" or name is None:
        return False
    autogen.imports.add(f"from app.models.base import {name}")
    return f"{name}()" if name == "UtcDateTime" else name


engine = context.config.attributes.get("engine") or Database(Settings().resolved_database_url).engine

with engine.connect() as connection:
    is_sqlite = connection.dialect.name == "sqlite"
    if is_sqlite:
        # SQLite changes a table by building it anew. While the old one is dropped, rows that refer to it must
        # stay. The pragma has no effect inside a transaction, so it comes before; the pool never sees this
        # connection again.
        connection.detach()
        connection.connection.cursor().execute("PRAGMA foreign_keys=OFF")
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=True,
        compare_type=True,
        render_item=render_item,
    )
    with context.begin_transaction():
        context.run_migrations()
        if is_sqlite and (lost := connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()):
            raise RuntimeError(f"rows refer to rows that are not there: {lost[:5]}")
