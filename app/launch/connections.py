"""The connections of one API process: how many there may be, and which have to end.

One look a second at all of them costs less than a timer for each request would.
"""

from __future__ import annotations

import asyncio
import logging
import resource
from collections import Counter
from dataclasses import dataclass
from typing import Protocol

from app.config import Settings
from app.host.addresses import TrustedProxies, site_of
from app.words import count

logger = logging.getLogger(__name__)

OTHER_FILES = 128
"""File descriptors for what is no connection: database, logs, models, the listening socket."""
FILES_EACH = 2
"""Of a connection: itself, and the file that it sends or receives."""
BACKLOG = 2048
LEAST_BACKLOG = 128
LOOK_SECONDS = 1.0
LOG_SECONDS = 60.0
MOST_TURNED_AWAY = 64
"""Connections over the bound that wait for their 503; more are closed without."""

TURNED_AWAY = "turned away, since as many were open as may be"
GAVE_WAY = "closed while idle, to make room for others"
SLOW = "closed, since the client sent too slowly"
UNREAD = "closed, since the client did not read its answer"


@dataclass(frozen=True)
class ConnectionLimits:
    """``each_client`` of 0 is no bound; ``trusted``: proxies, behind which are many clients."""

    most: int
    each_client: int
    slow_seconds: float
    trusted: str
    backlog: int = BACKLOG


def limit_connections(settings: Settings) -> ConnectionLimits:
    """The bounds of this process, whose limit on open files is raised as far as they need and it may be."""
    wanted = files_wanted(settings)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _smaller(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    elif soft != resource.RLIM_INFINITY:
        files = soft
    most = max(1, min(settings.max_connections, (files - OTHER_FILES) // FILES_EACH))
    if most < settings.max_connections:
        logger.warning(
            "at most %s, since this process may open %s; raise `ulimit -n`",
            count(most, "connection", "connections"),
            count(files, "file", "files"),
        )
    return ConnectionLimits(
        most,
        settings.max_connections_per_client,
        settings.slow_seconds,
        settings.resolved_trusted_proxies,
        # What the kernel holds ready is accepted all at once, before any of it can be turned away.
        min(BACKLOG, max(LEAST_BACKLOG, files - OTHER_FILES - FILES_EACH * most)),
    )


def files_wanted(settings: Settings) -> int:
    """How many files the API's process may have open at once, if nothing is to be turned away too soon."""
    return OTHER_FILES + FILES_EACH * settings.max_connections + BACKLOG


class Connection(Protocol):
    """What the bound needs to know of a connection."""

    client: tuple[str, int] | None
    idle_since: float | None
    """When it began to wait for the next request; None while one is under way."""

    def look(self, elapsed: float) -> None:
        """Ends itself if its client is too slow; the last look was ``elapsed`` seconds ago."""

    def close_now(self) -> None:
        """Ends without an answer."""


class Connections:
    """All that are open. ``now`` is the event loop's time at the last look."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self.now = 0.0
        self._trusted = TrustedProxies(limits.trusted)
        self._open: dict[Connection, str | None] = {}
        self._each_client: Counter[str] = Counter()
        self._turned_away: set[Connection] = set()
        self._seen: Counter[str] = Counter()
        self._next_log = 0.0
        self._is_looking = False
        self._tick = min(LOOK_SECONDS, limits.slow_seconds / 4)

    def add(self, connection: Connection) -> bool:
        """Whether there is room for it; an idle one gives way. What is not added is closed soon."""
        self._keep_looking()
        client = self._client_of(connection)
        most = self.limits.each_client
        is_one_too_many = client is not None and 0 < most <= self._each_client[client]
        if is_one_too_many and not self._make_room(client):
            return self._turn_away(connection)
        if len(self._open) >= self.limits.most and not self._make_room(None):
            return self._turn_away(connection)
        self._open[connection] = client
        if client is not None:
            self._each_client[client] += 1
        return True

    def remove(self, connection: Connection) -> None:
        """Forgets one that has ended."""
        self._turned_away.discard(connection)
        client = self._open.pop(connection, None)
        if client is not None:
            self._each_client[client] -= 1
            if not self._each_client[client]:
                del self._each_client[client]

    def note(self, what: str) -> None:
        """Counts what happened to a connection: a line each would be a way to fill the disk."""
        self._seen[what] += 1

    def _client_of(self, connection: Connection) -> str | None:
        host = connection.client[0] if connection.client else None
        return None if host is None or host in self._trusted else site_of(host)

    def _make_room(self, client: str | None) -> bool:
        """Ends the connection that has been idle longest, of ``client`` if one is given."""
        idle = [
            (since, connection)
            for connection, its_client in self._open.items()
            if (client is None or its_client == client)
            and (since := connection.idle_since) is not None
            and self.now - since >= self._tick
        ]
        if not idle:
            return False
        _, victim = min(idle, key=lambda entry: entry[0])
        self.note(GAVE_WAY)
        self.remove(victim)
        victim.close_now()
        return True

    def _turn_away(self, connection: Connection) -> bool:
        self.note(TURNED_AWAY)
        if len(self._turned_away) < MOST_TURNED_AWAY:
            self._turned_away.add(connection)
        else:
            connection.close_now()
        return False

    def _keep_looking(self) -> None:
        if not self._is_looking:
            self._is_looking = True
            loop = asyncio.get_running_loop()
            self.now = loop.time()
            loop.call_later(self._tick, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        before, self.now = self.now, loop.time()
        # While the loop stood still nothing could be read: that time is not the clients'.
        elapsed = min(self.now - before, 2 * self._tick)
        for connection in [*self._open, *self._turned_away]:
            try:
                connection.look(elapsed)
            except Exception:
                # One that fails must not end the limits of all others.
                logger.exception("connections: one is closed that could not be looked at")
                self.remove(connection)
                connection.close_now()
        if self._seen and self.now >= self._next_log:
            self._next_log = self.now + LOG_SECONDS
            self._log()
        if self._open or self._turned_away or self._seen:
            loop.call_later(self._tick, self._look, loop)
        else:
            self._is_looking = False

    def _log(self) -> None:
        counts = [f"{number:,} {what}" for what, number in sorted(self._seen.items())]
        self._seen.clear()
        logger.warning(
            "connections: %s. At most %s may be open, %s of one client (LOUPE_MAX_CONNECTIONS, "
            "LOUPE_MAX_CONNECTIONS_PER_CLIENT, LOUPE_SLOW_SECONDS)",
            "; ".join(counts),
            f"{self.limits.most:,}",
            f"{self.limits.each_client:,}" if self.limits.each_client else "any number",
        )


def _smaller(limit: int, wanted: int) -> int:
    return wanted if limit == resource.RLIM_INFINITY else min(limit, wanted)
