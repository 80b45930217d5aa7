"""A Redis and a PostgreSQL of the tests' own, to be killed, frozen, flushed and started again."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from pathlib import Path

import psycopg
import redis

from app.launch.redis_server import find_redis_server
from tests import postgres_server
from tests.ports import free_port
from tests.waiting import wait_for


class RedisServer:
    """A Redis on loopback that keeps nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self.url = f"redis://127.0.0.1:{self._port}/0"
        self.start()

    def start(self) -> None:
        command: list[str | Path]
        command = [find_redis_server().path, "--port", str(self._port), "--dir", self._folder, "--save", ""]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self._answers, 60, "Redis", alive=lambda: self._process.poll() is None)

    def _answers(self) -> bool:
        with contextlib.suppress(redis.ConnectionError), self.client() as client:
            return bool(client.ping())
        return False

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def flush(self) -> None:
        with self.client() as client:
            client.flushall()

    def count_messages(self, queue: str) -> int:
        with self.client() as client:
            return int(client.llen(queue))

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)


class PostgresServer:
    """A PostgreSQL on loopback, with one database for Loupe."""

    def __init__(self, programs: Path, folder: Path) -> None:
        self._programs, self._folder, self._port = programs, folder, free_port()
        self._run("initdb", "-D", "data", "-U", "loupe", "-A", "trust", "--no-sync")
        self._admin_url = f"postgresql://loupe@127.0.0.1:{self._port}/postgres"
        self.start()
        self.url = postgres_server.create_database(self._admin_url)

    def start(self) -> None:
        options = f"-p {self._port} -k {self._folder} -c fsync=off"
        self._run("pg_ctl", "-D", "data", "-o", options, "-l", "log", "-w", "start")

    def stop(self, mode: str = "fast") -> None:
        self._run("pg_ctl", "-D", "data", "-m", mode, "-w", "stop")

    def end_connections(self) -> None:
        """As a failing network does: every connection is lost in the middle of what it does."""
        with psycopg.connect(self._admin_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND datname LIKE 'test_%'"
            )

    def _run(self, program: str, *arguments: str) -> None:
        # Into a file: a server that is started inherits a pipe, whose reader would wait for its end.
        with (self._folder / "output").open("w+") as output:
            ended = subprocess.run(
                [self._programs / program, *arguments],
                cwd=self._folder,
                user=postgres_server.USER,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            output.seek(0)
            assert ended.returncode == 0, f"{program} {' '.join(arguments)}: {output.read()}"
