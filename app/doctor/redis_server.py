"""Redis: whether it answers, and whether it keeps what it is given."""

from __future__ import annotations

from typing import Any

import redis

from app.doctor.findings import Finding, Installation, failed, ok, warning

OLDEST = (6, 2)
NOEVICTION = "noeviction"


def check_redis(installation: Installation) -> list[Finding]:
    settings = installation.settings
    if installation.is_embedded and not settings.redis_socket.exists():
        hint = "Start it: `loupe up`. For a Redis of your own set LOUPE_REDIS_URL."
        return [warning("redis", f"`loupe up` does not run in {settings.home}.", hint)]
    client = redis.Redis.from_url(settings.redis_client_url, socket_connect_timeout=2, socket_timeout=2)
    try:
        information: dict[str, Any] = client.info()
    except (redis.RedisError, OSError) as error:
        hint = (
            "`loupe up` starts it again by itself within two minutes; else start `loupe up` anew."
            if installation.is_embedded
            else "Is it running, and does LOUPE_REDIS_URL name it and its password? Jobs are kept meanwhile."
        )
        return [failed("redis", f"It does not answer: {' '.join(str(error).split())[:300]}", hint)]
    finally:
        client.close()
    return _judge(information, is_embedded=installation.is_embedded)


def _judge(information: dict[str, Any], *, is_embedded: bool) -> list[Finding]:
    version = str(information.get("redis_version", "0"))
    findings = []
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < OLDEST:
        findings.append(warning("redis", f"It is version {version}.", "Use Redis 6.2 or newer."))
    policy = information.get("maxmemory_policy", NOEVICTION)
    if policy != NOEVICTION:
        detail = f"maxmemory-policy is {policy}: it may drop announcements of jobs, which then start later."
        findings.append(warning("redis", detail, f"CONFIG SET maxmemory-policy {NOEVICTION}"))
    if not information.get("aof_enabled") and not is_embedded:
        detail = (
            "It has no append-only file: what it held is announced again after a restart, a little later."
        )
        findings.append(warning("redis", detail, "CONFIG SET appendonly yes"))
    return findings or [ok("redis", f"Redis {version}, {policy}.")]
