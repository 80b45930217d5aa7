"""A PostgreSQL server of the tests' own, from the programs that the machine has."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg

from tests.ports import free_port
from tests.waiting import wait_for


def find_programs() -> Path | None:
    """The folder with ``initdb`` and ``postgres``; Debian keeps it off PATH."""
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


# PostgreSQL refuses to run as root.
USER = "postgres" if os.geteuid() == 0 else None


@contextlib.contextmanager
def server_folder() -> Iterator[Path]:
    """A folder that PostgreSQL's user may reach: pytest closes its own to others with every session."""
    with tempfile.TemporaryDirectory(prefix="loupe-postgres-", ignore_cleanup_errors=True) as name:
        if USER is not None:
            shutil.chown(name, USER)
        yield Path(name)


@contextlib.contextmanager
def run(programs: Path, folder: Path) -> Iterator[str]:
    """A server on loopback, trusting everyone there; yields the URL of its database ``postgres``."""
    data, port = folder / "data", free_port()
    subprocess.run(
        [programs / "initdb", "-D", data, "-U", "loupe", "-A", "trust", "--no-sync"],
        check=True, capture_output=True, user=USER,
    )  # fmt: skip
    command: list[str | Path]
    command = [programs / "postgres", "-D", data, "-p", str(port), "-k", folder, "-c", "fsync=off"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, user=USER)
    url = f"postgresql://loupe@127.0.0.1:{port}/postgres"
    try:
        _wait(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def create_database(url: str) -> str:
    """A new empty database on the server; returns its URL."""
    name = f"test_{uuid.uuid4().hex}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{url.rpartition('/')[0]}/{name}"


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    def answers() -> bool:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(url, connect_timeout=2).close()
            return True
        return False

    wait_for(answers, 60, "PostgreSQL", alive=lambda: process.poll() is None)
