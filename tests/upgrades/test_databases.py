"""Databases across versions: what an older Loupe wrote is read here, goes back, and may still be written.

``first_tables.sql`` is every row that the first release left after real work. It never changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from app.config import Settings
from app.context import AppContext
from app.jobs import reaper
from app.migrations import alembic_config, move_to, upgrade
from app.schema_version import SCRIPTS, SchemaError, is_behind
from tests.clients import local_client

HERE = Path(__file__).parent
FIRST = "5c3fae945b15"
FIRST_ROWS = (HERE / "first_tables.sql").read_text(encoding="utf-8")
OLD_WORKER = (HERE / "old_worker.sql").read_text(encoding="utf-8")
COLUMNS = dict(re.findall(r"^INSERT INTO (\w+) \(([^)]*)\)", FIRST_ROWS, re.MULTILINE))
JOB = r"^INSERT INTO jobs .*? VALUES \('(\w+)', '\w+', 'screws', '\w+', '(\w+)'"
JOBS = dict(re.findall(JOB, FIRST_ROWS, re.MULTILINE))
"""The status of each job."""
TRAINED = "job_01m86yjpsaj8v1vqm563dstvg0"
RUNNING = "job_01m86ykdxeb0bzjeb1cagwhy2d"
QUEUED = "job_01m86ykdy9tba6d6kzqm39n1kj"


def execute(connection: Connection, script: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SET TIME ZONE 'UTC'")
    for statement in re.sub(r"^--.*$", "", script, flags=re.MULTILINE).split(";\n"):
        if statement.strip():
            connection.exec_driver_sql(statement)


def run(context: AppContext, script: str) -> None:
    with context.db.write() as session:
        execute(session.connection(), script)


def rows(context: AppContext) -> dict[str, list[tuple[Any, ...]]]:
    """Every row, in the columns of the first release."""
    with context.db.read() as session:
        return {
            table: sorted(map(tuple, session.execute(text(f"SELECT {columns} FROM {table}"))), key=str)
            for table, columns in COLUMNS.items()
        }


@pytest.fixture
def empty(any_database: Settings) -> Iterator[AppContext]:
    """A database without any migration."""
    context = AppContext.open(any_database)
    yield context
    context.close()


@pytest.fixture
def old(empty: AppContext) -> AppContext:
    """A database of the first release, with all of its rows."""
    command.upgrade(alembic_config(empty.db), FIRST)
    run(empty, FIRST_ROWS)
    return empty


def test_the_rows_are_of_every_table_and_state(old: AppContext) -> None:
    assert set(COLUMNS) == set(inspect(old.db.engine).get_table_names()) - {"alembic_version"}
    assert set(JOBS.values()) == {"queued", "running", "paused", "succeeded", "failed", "cancelled"}
    assert all(rows(old).values())


def test_what_was_written_before_is_there_after_the_way_up_and_down(old: AppContext) -> None:
    before = rows(old)
    upgrade(old.db)
    assert not is_behind(old.db)
    assert rows(old) == before
    move_to(old.db, FIRST)
    assert rows(old) == before
    assert is_behind(old.db)
    upgrade(old.db)
    assert rows(old) == before


def test_the_api_of_this_version_reads_all_of_it(old: AppContext) -> None:
    upgrade(old.db)
    with local_client(old.settings) as client:

        def get(path: str) -> Any:
            answer = client.get(path)
            assert answer.status_code == 200, (path, answer.text)
            return answer.json()

        assert {row["id"]: row["status"] for row in get("/jobs?limit=100")["data"]} == JOBS
        for job in JOBS:
            assert get(f"/jobs/{job}/events")["data"][0]["data"] == {"status": "queued"}
            get(f"/jobs/{job}/metrics")
        metrics = get(f"/jobs/{TRAINED}/metrics")
        assert [point["step"] for point in metrics["steps"]] == list(range(1, 9))
        assert [point["epoch"] for point in metrics["epochs"]] == [1, 2]
        assert metrics["test"]["accuracy"]["value"] == 1.0
        assert get(f"/jobs/{TRAINED}")["metadata"] == {"who": "me"}
        assert get(f"/jobs/{TRAINED}")["created_at"].startswith("2026-11-24T14:15:2")
        assert get(f"/jobs/{TRAINED}/evaluation")["items"] == 6
        found = get(f"/jobs/{TRAINED}/findings")
        assert (found["epochs"], found["is_tested"]) == (2, True)
        assert "few_test_images" in {each["code"] for each in found["data"]}
        [model] = get("/models")["data"]
        assert (model["job"], model["aliases"]) == (TRAINED, ["champion"])
        assert {row["id"] for row in get("/products")["data"]} == {"screws", "empty"}
        assert {row["status"] for row in get("/products/screws/datasets")["data"]} == {"ready", "failed"}
        assert get("/workers")["data"] == []
        assert "loupe_database_up 1.0" in client.get("/metrics").text
        # A request that was answered before the upgrade and is repeated after it.
        again = client.post(
            "/products",
            content=b'{"id": "screws", "name": "Screws"}',
            headers={"content-type": "application/json", "Idempotency-Key": "first"},
        )
        assert again.status_code == 201


def test_a_job_whose_worker_went_with_the_old_version_is_taken_up_again(old: AppContext) -> None:
    upgrade(old.db)
    reclaimed = reaper.reclaim_lost_jobs(old, is_gone=lambda _: False, trust_expiry=True)
    assert reclaimed == [RUNNING]
    with local_client(old.settings) as client:
        assert client.get(f"/jobs/{RUNNING}").json()["status"] == "queued"
        last = client.get(f"/jobs/{RUNNING}/events").json()["data"][-1]["data"]
        assert (last["status"], last["reason"]) == ("queued", "worker_lost")


def test_an_older_api_and_worker_write_to_the_new_schema_as_they_always_did(any_context: AppContext) -> None:
    run(any_context, FIRST_ROWS)
    run(any_context, OLD_WORKER)
    with local_client(any_context.settings) as client:
        job = client.get(f"/jobs/{QUEUED}").json()
        assert (job["status"], job["attempt"]) == ("succeeded", 1)
        assert client.get(f"/models/{job['model']}").json()["aliases"] == ["champion"]
        assert len(client.get(f"/jobs/{QUEUED}/events").json()["data"]) == 3


def test_an_older_api_stays_ready_beside_a_newer_schema(any_context: AppContext) -> None:
    with local_client(any_context.settings) as client:
        run(any_context, "UPDATE alembic_version SET version_num = 'f00dfeed';\n")
        assert client.get("/readyz").json()["checks"]["database"] == "ok"
        move = "UPDATE alembic_version SET version_num = '" + FIRST + "';\n"
        run(any_context, move)
        assert client.get("/readyz").status_code == 503


def test_every_migration_leaves_room_for_the_release_before_it(empty: AppContext) -> None:
    """No table or column goes or narrows, and what is new in an old table need not be written."""
    revisions = [script.revision for script in reversed(list(ScriptDirectory(str(SCRIPTS)).walk_revisions()))]
    before: dict[str, Any] = {}
    for revision in revisions:
        command.upgrade(alembic_config(empty.db), revision)
        after = schema(empty)
        for table, columns in before.items():
            assert table in after, f"{revision} drops {table}"
            for name, (kind, is_nullable, _) in columns.items():
                assert name in after[table], f"{revision} drops {table}.{name}"
                assert after[table][name][0] == kind, f"{revision} changes {table}.{name}"
                assert after[table][name][1] or not is_nullable, f"{revision} demands {table}.{name}"
            for name in after[table].keys() - columns.keys():
                _, is_nullable, default = after[table][name]
                assert is_nullable or default is not None, f"{revision}: give {table}.{name} a server default"
        before = after


def schema(context: AppContext) -> dict[str, dict[str, tuple[str, bool, Any]]]:
    found = inspect(context.db.engine)
    return {
        table: {
            column["name"]: (str(column["type"]), column["nullable"], column["default"])
            for column in found.get_columns(table)
        }
        for table in found.get_table_names()
    }


def test_a_revision_that_does_not_exist_is_refused(context: AppContext) -> None:
    with pytest.raises(SchemaError, match="f00dfeed"):
        move_to(context.db, "f00dfeed")
    assert not is_behind(context.db)
