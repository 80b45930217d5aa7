"""The storage that hosts share, where there is one: whether it takes, gives back and deletes."""

from __future__ import annotations

import os
import time

from app.doctor.findings import Finding, Installation, failed, ok, warning
from app.errors import StorageUnavailableError
from app.storage.object_store import ObjectStore

PROBE_BYTES = 2**20
SLOW_SECONDS = 2.0


def check_storage(installation: Installation) -> list[Finding]:
    """Stores a MiB, reads it and takes it away. Nothing is found where no storage is set."""
    settings = installation.settings
    if settings.storage_url is None:
        return []
    key, data = f"scratch/.doctor-{os.getpid()}", os.urandom(PROBE_BYTES)
    store = ObjectStore(settings)
    began = time.perf_counter()
    try:
        store.check()
        store.write(key, data)
        is_same = store.read(key) == data
        store.delete([key])
    except StorageUnavailableError as error:
        hint = error.hint or ""
        if settings.storage_endpoint_url:
            hint += f" Its address is LOUPE_STORAGE_ENDPOINT_URL={settings.storage_endpoint_url}."
        return [failed("storage", f"{settings.storage_url}: {error.detail}", hint)]
    seconds = time.perf_counter() - began
    if not is_same:
        detail = f"{settings.storage_url} gives back other bytes than it was given."
        return [failed("storage", detail, "Look into the storage's own log and its disks.")]
    detail = f"{settings.storage_url} takes, gives back and deletes a MiB in {seconds * 1000:.0f} ms."
    if seconds > SLOW_SECONDS:
        return [warning("storage", detail, "Jobs wait for that at their start and end: use a nearer server.")]
    return [ok("storage", detail)]
