"""The schema: built by the migrations alone, on both databases, and back again."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from app.context import AppContext
from app.migrations import alembic_config, upgrade
from app.models import Base
from app.schema_version import SCRIPTS, SchemaError, is_behind, read_order, wait_until_migrated


def test_the_migrations_make_exactly_the_tables_of_the_code(any_context: AppContext) -> None:
    with any_context.db.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    assert not is_behind(any_context.db)


def test_they_go_down_to_nothing_and_up_again(any_context: AppContext) -> None:
    command.downgrade(alembic_config(any_context.db), "base")
    assert set(inspect(any_context.db.engine).get_table_names()) <= {"alembic_version"}
    assert is_behind(any_context.db)
    upgrade(any_context.db)
    assert not is_behind(any_context.db)


def test_there_is_one_head_and_names_sort_by_date() -> None:
    scripts = ScriptDirectory(str(SCRIPTS))
    assert len(scripts.get_heads()) == 1
    in_order = [script.path for script in reversed(list(scripts.walk_revisions()))]
    assert in_order == sorted(in_order)
    assert read_order() == tuple(script.revision for script in scripts.walk_revisions())


def test_the_api_needs_no_alembic() -> None:
    code = "import sys, app.launch.api; sys.exit('alembic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_database_of_a_newer_version_is_refused_with_a_hint(context: AppContext) -> None:
    with context.db.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'f00dfeed'"))
    with pytest.raises(SchemaError) as caught:
        upgrade(context.db)
    assert "newer Loupe" in (caught.value.hint or "")


def test_a_worker_waits_until_somebody_migrates(any_context: AppContext) -> None:
    command.downgrade(alembic_config(any_context.db), "base")
    waiting = threading.Thread(
        target=wait_until_migrated, args=(any_context.db,), kwargs={"poll_seconds": 0.05}, daemon=True
    )
    waiting.start()
    waiting.join(0.5)
    assert waiting.is_alive()

    upgrade(any_context.db)
    waiting.join(30)
    assert not waiting.is_alive()


def test_an_older_worker_does_not_wait_beside_a_newer_version(any_context: AppContext) -> None:
    with any_context.db.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'f00dfeed'"))
    assert not is_behind(any_context.db)
