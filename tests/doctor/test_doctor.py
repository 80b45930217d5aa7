"""``loupe doctor`` on installations that are broken for real, one thing at a time."""

from __future__ import annotations

import json
import os
import resource
import socket
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from alembic import command
from sqlalchemy import update
from sqlalchemy.orm import Session

from app import migrations
from app.config import Settings
from app.context import AppContext
from app.doctor import Finding, checks, diagnose
from app.doctor import database as doctor_database
from app.doctor import files as doctor_files
from app.jobs import claims
from app.launch import redis_server as launch_redis_server
from app.launch.redis_server import find_redis_server
from app.models import ApiKey, Job, JobEvent, Worker
from app.models.base import utc_now
from app.services import workers
from app.storage.object_store import ObjectStore
from tests.chaos.servers import RedisServer
from tests.cli.conftest import Run, loupe  # noqa: F401
from tests.conftest import Service, on_s3
from tests.ports import free_port
from tests.s3_server import S3Server
from tests.services.rows import add_job
from tests.services.test_workers import last_beat, new_worker
from tests.waiting import wait_for


@pytest.fixture(autouse=True)
def _nothing_is_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long this machine takes, beside whatever else it does, is not what these tests are about."""
    for name in ("database.SLOW_SECONDS", "files.SLOW_SYNC_SECONDS", "shared_storage.SLOW_SECONDS"):
        monkeypatch.setattr(f"app.doctor.{name}", 600.0)


def examine(settings: Settings, check: str) -> list[Finding]:
    """What is found of one check, every finding but a good one with what to do."""
    findings = list(diagnose(settings))
    for finding in findings:
        assert finding.status in ("ok", "skipped") or finding.hint, finding
        assert "Traceback" not in finding.detail
    return [finding for finding in findings if finding.check == check]


def only(settings: Settings, check: str, status: str) -> Finding:
    [finding] = examine(settings, check)
    assert finding.status == status, finding
    return finding


@pytest.mark.integration
def test_a_service_that_runs_is_found_well(service: Service, loupe: Run) -> None:  # noqa: F811
    with service.client() as http:
        # The API answers before the workers have registered.
        wait_for(lambda: len(http.get("/workers").json()["data"]) == 2, 60, "the workers")
    ended = loupe("doctor", "--home", service.home)
    assert ended.status == 0, ended.out
    assert "✗" not in ended.out
    assert "Alive: 1 training, 1 tasks." in ended.out


def test_what_is_broken_gives_status_1_and_json_says_the_same(tmp_path: Path, loupe: Run) -> None:  # noqa: F811
    ended = loupe("doctor", "--home", tmp_path / "nowhere")
    assert ended.status == 1
    assert "✗ database" in ended.out
    assert "→ `loupe up` makes it" in ended.out
    assert not (tmp_path / "nowhere").exists(), "looking changes nothing"

    as_json = loupe("doctor", "--home", tmp_path / "nowhere", "--json")
    assert as_json.status == 1
    found = {finding["check"]: finding["status"] for finding in as_json.json["findings"]}
    assert (as_json.json["ok"], found["database"], found["jobs"]) == (False, "failed", "skipped")


def test_a_database_that_is_away_is_named_without_its_password(settings: Settings) -> None:
    away = {"database_url": "postgresql://loupe:s3cret@127.0.0.1:1/loupe"}
    found = only(settings.model_copy(update=away), "database", "failed")
    assert "refused" in found.detail
    assert "s3cret" not in json.dumps(found.as_dict())


def test_a_database_that_never_answers_is_not_waited_for(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checks, "CHECK_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://loupe@127.0.0.1:{silent.getsockname()[1]}/loupe"
        found = only(settings.model_copy(update={"database_url": url}), "database", "failed")
    assert found.detail.startswith("No answer in")


def test_a_file_that_is_no_database_is_told(settings: Settings) -> None:
    settings.home.mkdir()
    (settings.home / "loupe.db").write_bytes(b"not a database" * 1000)
    assert "not a database" in only(settings, "database", "failed").detail


def test_a_url_that_is_none_is_told(settings: Settings) -> None:
    only(settings.model_copy(update={"database_url": "nonsense"}), "database", "failed")
    only(settings.model_copy(update={"database_url": "mysql://x/y"}), "database", "failed")


@pytest.mark.parametrize(
    ("to", "detail"), [("base", "no tables"), ("5c3fae945b15", "missing"), ("f00dfeed", "newer")]
)
def test_a_schema_that_does_not_fit_is_told_with_the_way_to_mend_it(
    any_context: AppContext, to: str, detail: str
) -> None:
    assert only(any_context.settings, "migrations", "ok")
    if to == "f00dfeed":
        with any_context.db.write() as session:
            set_revision(session, to)
    else:
        command.downgrade(migrations.alembic_config(any_context.db), to)
    assert detail in only(any_context.settings, "migrations", "failed").detail
    assert only(any_context.settings, "jobs", "skipped")


def set_revision(session: Session, revision: str) -> None:
    session.connection().exec_driver_sql(f"UPDATE alembic_version SET version_num = '{revision}'")


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.thaw()
    server.kill()


def test_a_redis_that_forgets_freezes_or_dies_is_told(context: AppContext, redis_server: RedisServer) -> None:
    settings = context.settings.model_copy(update={"redis_url": redis_server.url})
    assert "append-only" in only(settings, "redis", "warning").detail
    assert only(settings, "clock", "ok")
    with redis_server.client() as client:
        client.config_set("appendonly", "yes")
        assert only(settings, "redis", "ok")
        client.config_set("maxmemory-policy", "allkeys-lru")
    assert "allkeys-lru" in only(settings, "redis", "warning").detail
    redis_server.freeze()
    only(settings, "redis", "failed")
    redis_server.thaw()
    redis_server.kill()
    assert "refused" in only(settings, "redis", "failed").detail


def test_without_loupe_up_its_redis_is_missed(settings: Settings) -> None:
    assert "does not run" in only(settings, "redis", "warning").detail


@pytest.mark.parametrize(
    ("prints", "status", "detail"),
    [
        ("Redis server v=7.0.15", "warning", "is past its support and has CVE-2025-49844"),
        ("Redis server v=6.2.20", "warning", "is past its support."),
        ("Valkey server v=8.1.3", "warning", "has CVE-2025-49844"),
        ("Valkey server v=8.1.4", "ok", "Valkey 8.1.4 ("),
    ],
)
def test_the_server_that_loupe_up_would_start_is_judged(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prints: str, status: str, detail: str
) -> None:
    (tmp_path / "redis-server").write_text(f"#!/bin/sh\necho '{prints}'\n")
    (tmp_path / "redis-server").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(launch_redis_server, "shipped_redis_server", lambda: None)
    found = only(settings, "redis server", status)
    assert detail in found.detail
    if status == "warning":
        assert "this user on this machine" in str(found.hint)
        assert "Install a newer" in str(found.hint)


def test_the_server_that_runs_is_named(context: AppContext, redis_server: RedisServer) -> None:
    settings = context.settings.model_copy(update={"redis_url": redis_server.url})
    [found] = examine(settings, "redis server")
    assert found.detail.startswith(str(find_redis_server().version))
    assert found.status == "ok" or "can connect to it" in str(found.hint)


@pytest.mark.parametrize("where", ["", "scratch", "models"])
def test_a_file_where_a_folder_should_be_is_told(settings: Settings, where: str) -> None:
    path = settings.home / where
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    only(settings, "home", "failed")
    assert path.read_bytes() == b""


def test_a_shared_storage_is_tried_or_told(shared_settings: Settings, s3: S3Server) -> None:
    assert "gives back and deletes" in only(shared_settings, "storage", "ok").detail
    assert ObjectStore(shared_settings).list_keys("scratch") == {}
    away = on_s3(shared_settings, s3, f"http://127.0.0.1:{free_port()}")
    assert "does not answer" in only(away, "storage", "failed").detail
    missing = on_s3(shared_settings, s3).model_copy(update={"storage_url": "s3://nobody-made-this"})
    assert "Make the bucket" in str(only(missing, "storage", "failed").hint)


def test_the_home_is_left_as_it_was(context: AppContext) -> None:
    before = sorted(context.settings.home.rglob("*"))
    assert only(context.settings, "home", "ok")
    assert sorted(context.settings.home.rglob("*")) == before


def test_too_little_space_is_told_before_it_is_needed(
    context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert only(context.settings, "space", "ok")
    monkeypatch.setattr(doctor_files, "RECORD_BYTES", 2**50)
    add_job(context)
    with context.db.write() as session:
        session.connection().exec_driver_sql("UPDATE datasets SET items = 100")
    assert "largest dataset" in only(context.settings, "space", "warning").detail
    monkeypatch.setattr(doctor_files, "LEAST_BYTES", 2**62)
    only(context.settings, "space", "failed")


@pytest.mark.postgres
def test_a_clock_that_is_off_is_told(any_context: AppContext, monkeypatch: pytest.MonkeyPatch) -> None:
    if any_context.db.engine.dialect.name == "sqlite":
        assert only(any_context.settings, "clock", "ok")
        return
    assert "the database's" in only(any_context.settings, "clock", "ok").detail
    wrong = SimpleNamespace(time=lambda: time.time() - 60, perf_counter=time.perf_counter)
    monkeypatch.setattr(doctor_database, "time", wrong)
    assert "60.0 s behind" in only(any_context.settings, "clock", "warning").detail


def test_queues_that_nobody_serves_and_workers_lost_or_of_another_version_are_told(
    any_context: AppContext,
) -> None:
    settings = any_context.settings
    assert [found.status for found in examine(settings, "workers")] == ["failed", "failed"]
    training, tasks = new_worker("a", "training"), new_worker("b", "tasks")
    for worker in (training, tasks):
        workers.beat(any_context, worker)
    assert only(settings, "workers", "ok").detail == "Alive: 1 training, 1 tasks."
    with any_context.db.write() as session:
        session.execute(update(Worker).where(Worker.id == training.id).values(version="0.0.9"))
    assert "0.0.9" in only(settings, "workers", "warning").detail
    workers.leave(any_context, training.id)
    training = new_worker("c", "gpu")
    workers.beat(any_context, training)
    assert only(settings, "workers", "ok").detail == "Alive: 1 gpu, 1 tasks."
    last_beat(any_context, training, settings.lease_seconds + 60)
    missing, lost = examine(settings, "workers")
    assert (missing.status, lost.status) == ("failed", "warning")
    assert "fell silent" in lost.detail


def test_jobs_that_hang_or_wait_too_long_are_told(any_context: AppContext) -> None:
    settings = any_context.settings
    hanging, _ = add_job(any_context), add_job(any_context, kind="import")
    assert claims.claim(any_context, hanging, "elsewhere") is not None
    assert only(settings, "jobs", "ok").detail == "1 running, 1 queued, 0 failed."
    with any_context.db.write() as session:
        session.execute(update(Job).where(Job.id == hanging).values(lease_until=Job.lease_until - 300))
        session.execute(update(JobEvent).values(created_at=utc_now() - timedelta(hours=2)))
    stuck, waiting = examine(settings, "jobs")
    assert (stuck.status, waiting.status) == ("failed", "warning")
    assert hanging in stuck.detail
    assert "queue tasks has waited for 2.0 hours" in waiting.detail


def test_an_api_without_a_key_or_with_a_short_one_is_told(settings: Settings) -> None:
    assert only(settings, "access", "ok")
    only(settings.model_copy(update={"host": "0.0.0.0"}), "access", "failed")
    only(Settings(home=settings.home, host="0.0.0.0", api_key="short", _env_file=None), "access", "warning")


def test_whether_the_api_asks_for_a_key_is_told_by_those_of_the_database_too(any_context: AppContext) -> None:
    assert only(any_context.settings, "keys", "ok").detail == "There are none: the API asks for none."
    with any_context.db.write() as session:
        session.add(ApiKey(id="key_1", name="k", prefix="p", secret_sha256="0" * 64, scopes=["read"]))
    detail = only(any_context.settings, "keys", "ok").detail
    assert detail == "The API asks for one; the database has 1 key."


def test_a_limit_of_open_files_below_what_the_connections_need_is_told(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for limits, status in (((512, 4096), "warning"), ((512, 5000), "ok"), ((512, -1), "ok")):
        monkeypatch.setattr(resource, "getrlimit", lambda _, limits=limits: limits)
        assert "4,176" in only(settings, "open files", status).detail
    monkeypatch.setattr(resource, "getrlimit", lambda _: (512, 4096))
    only(settings.model_copy(update={"max_connections": 500}), "open files", "ok")


def test_a_gpu_that_is_named_and_not_there_is_told(settings: Settings) -> None:
    only(settings.model_copy(update={"gpus": "none"}), "devices", "ok")
    assert "'gpu0'" in only(settings.model_copy(update={"gpus": "gpu0"}), "devices", "failed").detail


def deep(settings: Settings) -> Finding:
    [found] = [finding for finding in diagnose(settings, is_deep=True) if finding.check == "tensorflow"]
    return found


def test_a_tensorflow_that_does_not_load_or_sees_no_gpu_is_told(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, tool = tmp_path / "tensorflow.py", tmp_path / "nvidia-smi"
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    module.write_text("raise ImportError('libcudart is missing')")
    assert "libcudart is missing" in deep(settings).detail

    module.write_text(
        "class config:\n    list_physical_devices = staticmethod(lambda _: [])\n"
        "__version__, ones, reduce_sum = '9.9', lambda n: n, float\n"
    )
    assert deep(settings).status == "ok"
    tool.write_text('#!/bin/sh\ncase $1 in -L) ;; *) echo "0, GPU-1, NVIDIA L40S, 46068" ;; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = deep(settings)
    assert (found.status, "gpu.txt" in (found.hint or "")) == ("failed", True)
