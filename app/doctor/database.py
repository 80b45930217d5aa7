"""The database: whether it answers, whether its schema fits, whether clocks agree with it."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import redis
from sqlalchemy import make_url, select, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from app import __version__
from app.doctor.findings import Finding, Installation, failed, ok, warning
from app.errors import LoupeError
from app.models.base import db_now
from app.schema_version import read_current, read_order

SLOW_SECONDS = 0.05
SKEW_SECONDS = 2.0
OLDEST_POSTGRES = 13


def check_database(installation: Installation) -> list[Finding]:
    try:
        url = make_url(installation.settings.resolved_database_url)
    except ArgumentError:
        return [failed("database", "LOUPE_DATABASE_URL is no database's URL.", "postgresql://USER@HOST/NAME")]
    shown = url.render_as_string(hide_password=True)
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and url.database and not Path(url.database).exists():
        hint = "`loupe up` makes it, or `loupe migrate`. Another place: LOUPE_HOME, --home."
        return [failed("database", f"There is none yet at {url.database}.", hint)]
    try:
        version = _version(installation, is_sqlite=is_sqlite)
        seconds = _latency(installation)
    except (LoupeError, SQLAlchemyError, ValueError) as error:
        hint = (
            "Is the file whole, and readable by this user? Else restore a backup."
            if is_sqlite
            else "Is PostgreSQL running, and does LOUPE_DATABASE_URL name it, its user and password?"
        )
        return [failed("database", f"{shown} does not answer: {_reason(error)}", hint)]
    detail = f"{version} at {shown}, answers in {seconds * 1000:.1f} ms."
    if not is_sqlite and int(version.split()[1].split(".")[0]) < OLDEST_POSTGRES:
        return [warning("database", detail, f"Use PostgreSQL {OLDEST_POSTGRES} or newer.")]
    if seconds > SLOW_SECONDS:
        return [
            warning("database", detail, "Every request waits for it: move it nearer, or see what it does.")
        ]
    return [ok("database", detail)]


def check_migrations(installation: Installation) -> list[Finding]:
    order, current = read_order(), read_current(installation.db)
    if current == order[0]:
        return [ok("migrations", f"The schema is that of this version ({current}).")]
    if current is None:
        return [failed("migrations", "The database has no tables of Loupe.", "Run `loupe migrate`.")]
    if current in order:
        missing = order.index(current)
        hint = "Make a backup, then run `loupe migrate`; with Compose, `docker compose up` does."
        return [failed("migrations", f"{missing} migration(s) are missing: it is at {current}.", hint)]
    hint = "Use that version here too, or restore a backup from before."
    return [failed("migrations", f"A newer Loupe than {__version__} has migrated it (to {current}).", hint)]


def check_clocks(installation: Installation) -> list[Finding]:
    """Leases are the database's time alone; what people read, such as created_at, is each machine's."""
    clocks = {}
    if installation.db.engine.dialect.name != "sqlite":  # which has this machine's own
        before = time.time()
        with installation.db.read() as session:
            session.scalar(select(1))  # the connection, and its share of the time, come first
            before = time.time()
            now = session.scalar(select(db_now())) or 0.0
        clocks["the database's"] = now - (before + time.time()) / 2
    if not installation.is_embedded:
        client = redis.Redis.from_url(
            installation.settings.redis_client_url, socket_connect_timeout=2, socket_timeout=2
        )
        try:
            before = time.time()
            seconds, microseconds = client.time()
            clocks["Redis's"] = seconds + microseconds / 1e6 - (before + time.time()) / 2
        except redis.RedisError:
            pass  # the check of Redis tells
        finally:
            client.close()
    findings = []
    for whose, skew in clocks.items():
        if abs(skew) > SKEW_SECONDS:
            detail = (
                f"This machine's clock is {abs(skew):.1f} s {'behind' if skew > 0 else 'before'} {whose}."
            )
            hint = "Jobs are safe, but times in lists and logs mislead: let NTP set all clocks."
            findings.append(warning("clock", detail, hint))
    if findings:
        return findings
    if not clocks:
        return [ok("clock", "Database and Redis are on this machine and have its clock.")]
    return [ok("clock", f"Within {SKEW_SECONDS:.0f} s of {' and '.join(clocks)}.")]


def _version(installation: Installation, *, is_sqlite: bool) -> str:
    with installation.db.read() as session:
        if is_sqlite:
            session.execute(text("SELECT count(*) FROM sqlite_schema"))
            return f"SQLite {session.scalar(text('SELECT sqlite_version()'))}"
        return f"PostgreSQL {str(session.scalar(text('SHOW server_version'))).split()[0]}"


def _latency(installation: Installation) -> float:
    seconds = []
    with installation.db.read() as session:
        for _ in range(5):
            began = time.perf_counter()
            session.scalar(select(1))
            seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


def _reason(error: Exception) -> str:
    """The driver's own words, which tell a wrong password from a machine that is off."""
    cause = error.__cause__ if isinstance(error, LoupeError) and error.__cause__ else error
    told = getattr(cause, "orig", None) or cause
    return " ".join(str(told).split())[:300]
