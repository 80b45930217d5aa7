"""Logs in the shared storage. They grow while a job runs, so they are no bundles: each is stored anew."""

from __future__ import annotations

from pathlib import Path

from app.storage.home import Storage

Seen = dict[Path, int]


def share_logs(storage: Storage, job_id: str, folder: Path, seen: Seen) -> None:
    """Uploads the logs below ``folder`` that have grown since ``seen``, which is brought up to date."""
    if storage.store is None:
        return
    for path in [*folder.glob("*.log"), *storage.job(job_id).glob("process-*.log")]:
        size = path.stat().st_size
        if size > seen.get(path, 0):
            storage.store.put_file(path, storage.relative(path))
            seen[path] = size


def fetch_logs(storage: Storage, job_id: str) -> Path:
    """The folder of the job's logs, each as long as it is in the shared storage or longer.

    A log only grows, and each attempt writes its own: the longer file is the newer one.
    """
    folder = storage.job_logs(job_id)
    if storage.store is None:
        return folder
    for key, size in storage.store.list_keys(storage.relative(folder)).items():
        path = storage.absolute(key)
        if not path.exists() or path.stat().st_size < size:
            with storage.scratch_folder("log") as scratch:
                if storage.store.get_file(key, scratch / path.name):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    (scratch / path.name).replace(path)
    return folder
