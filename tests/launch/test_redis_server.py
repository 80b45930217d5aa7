"""The embedded Redis: the best server that there is, on a socket of this user, without administration."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import redis

from app.config import Settings
from app.job_queue import TASK_QUEUE, JobQueue
from app.launch import redis_server
from app.launch.redis_server import ForeignFolderError, NoRedisError, find_redis_server, redis_command
from app.launch.redis_versions import RedisVersion, read_version, version_of
from tests.waiting import wait_for

ADMINISTRATION = """
ACL LIST|BGREWRITEAOF|BGSAVE|CLIENT KILL TYPE normal|CLIENT LIST|CLUSTER RESET|CONFIG GET *|CONFIG REWRITE
CONFIG SET dir /tmp|DEBUG SLEEP 0|FAILOVER|FLUSHALL|FLUSHDB|KEYS *|LATENCY RESET|MIGRATE h 1 k 0 1
MODULE LIST|MODULE LOAD /tmp/x.so|MONITOR|REPLICAOF h 1|RESTORE k 0 x|ROLE|SAVE|SHUTDOWN NOSAVE|SLAVEOF h 1
SLOWLOG GET|SWAPDB 0 1|SYNC
"""


def server(folder: Path, name: str, prints: str) -> None:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{prints}'\n")
    program.chmod(0o755)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the whole PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(redis_server, "shipped_redis_server", lambda: None)
    return folder


@pytest.mark.parametrize(
    ("redis_prints", "valkey_prints", "chosen"),
    [
        ("Redis server v=6.2.14 sha=0", "Valkey server v=8.1.4 sha=0", "Valkey 8.1.4"),
        ("Redis server v=8.0.2 sha=0", "Valkey server v=7.2.11 sha=0", "Valkey 7.2.11"),
        ("Redis server v=8.2.2 sha=0", "Valkey server v=8.1.4 sha=0", "Redis 8.2.2"),
        ("Redis server v=6.2.20 sha=0", "Valkey server v=8.1.3 sha=0", "Redis 6.2.20"),
        ("Redis server v=7.0.15 sha=0", "Valkey server v=7.2.4 sha=0", "Valkey 7.2.4"),
        ("Redis server v=7.0.15 sha=0", "what is this?", "Redis 7.0.15"),
        ("Redis server v=5.0.14 sha=0", "Valkey server v=7.2.4 sha=0", "Valkey 7.2.4"),
    ],
)
def test_the_server_without_the_hole_then_the_supported_then_the_newer_is_taken(
    on_path: Path, redis_prints: str, valkey_prints: str, chosen: str
) -> None:
    server(on_path, "redis-server", redis_prints)
    server(on_path, "valkey-server", valkey_prints)
    assert str(find_redis_server().version) == chosen


def test_a_newer_server_on_path_goes_before_that_of_the_wheel(
    on_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server(tmp_path / "wheel", "redis-server", "Redis server v=6.2.14 sha=0")
    monkeypatch.setattr(redis_server, "shipped_redis_server", lambda: tmp_path / "wheel/redis-server")
    assert str(find_redis_server().version) == "Redis 6.2.14"
    server(on_path, "redis-server", "Redis server v=7.0.15 sha=0")
    assert find_redis_server().path == on_path / "redis-server"
    server(on_path, "redis-server", "Redis server v=6.2.7 sha=0")
    assert find_redis_server().path == tmp_path / "wheel/redis-server"


def test_without_a_server_that_can_be_used_there_is_an_error_with_a_remedy(on_path: Path) -> None:
    server(on_path, "redis-server", "Redis server v=5.0.14 sha=0")
    (on_path / "valkey-server").write_text("not a program")
    (on_path / "valkey-server").chmod(0o755)
    with pytest.raises(NoRedisError) as caught:
        find_redis_server()
    assert "LOUPE_REDIS_URL" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("version", "has_hole", "is_supported"),
    [
        (("Redis", (6, 2, 14)), True, False),
        (("Redis", (6, 2, 20)), False, False),
        (("Redis", (7, 0, 15)), True, False),
        (("Redis", (7, 2, 10)), True, True),
        (("Redis", (7, 2, 11)), False, True),
        (("Redis", (7, 4, 6)), False, True),
        (("Redis", (8, 0, 3)), True, False),
        (("Redis", (8, 2, 1)), True, True),
        (("Redis", (8, 2, 2)), False, True),
        (("Redis", (8, 6, 0)), False, True),
        (("Valkey", (8, 0, 5)), True, True),
        (("Valkey", (8, 1, 4)), False, True),
        (("Valkey", (9, 0, 0)), False, True),
    ],
)
def test_what_is_known_against_a_version(
    version: tuple[str, tuple[int, int, int]], has_hole: bool, is_supported: bool
) -> None:
    known = RedisVersion(*version)
    assert (known.has_lua_hole, known.is_supported) == (has_hole, is_supported)


def test_valkey_is_known_by_its_own_version() -> None:
    printed = "Valkey server v=8.1.1 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=1"
    answered = {"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.1.1"}
    assert read_version(printed) == version_of(answered) == RedisVersion("Valkey", (8, 1, 1))
    assert version_of({"redis_version": "8.2.1"}) == RedisVersion("Redis", (8, 2, 1))
    assert version_of({}) is None


@pytest.fixture
def running(settings: Settings) -> Iterator[tuple[Settings, psutil.Process]]:
    """The embedded server, started as `loupe up` starts it."""
    settings.home.mkdir(exist_ok=True)
    process = subprocess.Popen(redis_command(settings), stdout=subprocess.DEVNULL)
    wait_for(settings.redis_socket.exists, 30, "the socket", alive=lambda: process.poll() is None)
    yield settings, psutil.Process(process.pid)
    process.kill()
    process.wait()


@pytest.mark.integration
def test_its_socket_is_for_its_user_alone(running: tuple[Settings, psutil.Process]) -> None:
    settings, process = running
    folder, socket = settings.redis_socket.parent.stat(), settings.redis_socket.stat()
    assert (stat.S_IMODE(folder.st_mode), folder.st_uid) == (0o700, os.getuid())
    wait_for(lambda: stat.S_IMODE(settings.redis_socket.stat().st_mode) == 0o600, 5, "the socket's mode")
    assert socket.st_uid == os.getuid()
    assert process.net_connections("inet") == []


@pytest.mark.integration
def test_its_clients_administer_nothing(running: tuple[Settings, psutil.Process]) -> None:
    settings, process = running
    with redis.Redis.from_url(settings.redis_client_url) as client:
        for line in ADMINISTRATION.strip().replace("\n", "|").split("|"):
            # What a server does not have or allows nobody is closed as well.
            with pytest.raises(redis.ResponseError, match=r"permission|not allowed|unknown command"):
                client.execute_command(*line.split(" "))
            with pytest.raises(redis.ResponseError):
                client.eval(f"return redis.call('{line.split(' ')[0]}', 'x', 'x')", 0)
        assert client.info()["redis_version"]
        assert client.eval("return redis.call('set', 'key', 'value')", 0) == b"OK"
    assert process.is_running()


@pytest.mark.integration
def test_jobs_are_announced_through_it(running: tuple[Settings, psutil.Process]) -> None:
    settings, _ = running
    queue = JobQueue(settings)
    assert queue.enqueue("job", "import")
    assert queue.length(TASK_QUEUE) == 1
    queue.close()


def test_a_folder_that_others_may_read_is_closed(settings: Settings) -> None:
    folder = settings.redis_socket.parent
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    redis_command(settings)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("made_by", ["a link", "another user"])
def test_a_folder_that_another_user_made_first_is_refused(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made_by: str
) -> None:
    folder = settings.redis_socket.parent
    folder.parent.mkdir(parents=True)
    if made_by == "a link":
        (tmp_path / "theirs").mkdir()
        folder.symlink_to(tmp_path / "theirs")
    else:
        folder.mkdir()
        uid = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: uid + 1)
    with pytest.raises(ForeignFolderError):
        redis_command(settings)
