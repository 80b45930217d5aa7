"""The checks in their order, each with a time limit, none of which may break the others."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.config import Settings
from app.doctor.database import check_clocks, check_database, check_migrations
from app.doctor.files import check_home, check_space
from app.doctor.findings import Finding, Installation, failed
from app.doctor.host import (
    check_access,
    check_devices,
    check_keys,
    check_open_files,
    check_tensorflow,
    check_versions,
)
from app.doctor.redis_server import check_redis, check_redis_server
from app.doctor.shared_storage import check_storage
from app.doctor.work import check_jobs, check_workers
from app.errors import LoupeError

CHECK_SECONDS = 15.0
DEEP_SECONDS = 180.0


@dataclass(frozen=True)
class Check:
    """``needs``: checks that must not have failed, or this one could only fail with them."""

    name: str
    look: Callable[[Installation], list[Finding]]
    needs: tuple[str, ...] = ()
    is_deep: bool = False


# A storage of another kind, a queue, a device: its check is a function like these and a line here.
CHECKS = (
    Check("versions", check_versions),
    Check("home", check_home),
    Check("database", check_database),
    Check("migrations", check_migrations, needs=("database",)),
    Check("space", check_space, needs=("home", "migrations")),
    Check("redis", check_redis),
    Check("redis server", check_redis_server, needs=("redis",)),
    Check("storage", check_storage),
    Check("clock", check_clocks, needs=("database",)),
    Check("workers", check_workers, needs=("migrations",)),
    Check("jobs", check_jobs, needs=("migrations",)),
    Check("devices", check_devices),
    Check("tensorflow", check_tensorflow, is_deep=True),
    Check("access", check_access),
    Check("keys", check_keys, needs=("migrations",)),
    Check("open files", check_open_files),
)


def diagnose(settings: Settings, *, is_deep: bool = False) -> Iterator[Finding]:
    """Everything that is found, as it is found."""
    installation = Installation(settings, is_deep)
    try:
        yield from _diagnose(installation)
    finally:
        installation.close()


def _diagnose(installation: Installation) -> Iterator[Finding]:
    broken: set[str] = set()
    for check in CHECKS:
        if check.is_deep and not installation.is_deep:
            continue
        missing = [name for name in check.needs if name in broken]
        if missing:
            findings = [Finding(check.name, "skipped", f"not looked at: see {missing[0]}")]
        else:
            findings = _look(check, installation)
        if any(finding.status in ("failed", "skipped") for finding in findings):
            broken.add(check.name)
        yield from findings


def _look(check: Check, installation: Installation) -> list[Finding]:
    """In a thread of its own: what hangs, such as a file server, is left hanging."""
    found: list[Finding] = []

    def look() -> None:
        try:
            found.extend(check.look(installation))
        except LoupeError as error:
            found.append(failed(check.name, error.detail, error.hint or "See the documents."))
        except Exception as error:
            what = f"{type(error).__name__}: {error}".splitlines()[0]
            found.append(failed(check.name, what, "The check itself could not be made; this is the reason."))

    limit = DEEP_SECONDS if check.is_deep else CHECK_SECONDS
    thread = threading.Thread(target=look, name=f"check-{check.name}", daemon=True)
    thread.start()
    thread.join(limit)
    if thread.is_alive():
        return [failed(check.name, f"No answer in {limit:.0f} seconds.", "Something below it hangs.")]
    return found
