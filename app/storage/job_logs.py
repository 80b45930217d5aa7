"""Logs in the shared storage. They grow while a job runs, so each is stored again and again."""

from __future__ import annotations

from pathlib import Path

from app.storage.home import Storage

Seen = dict[Path, int]


def upload_logs(storage: Storage, job_id: str, folder: Path, seen: Seen) -> None:
    """Uploads the logs below ``folder`` that have grown since ``seen``, which is brought up to date."""
    for path in [*folder.glob("*.log"), *storage.job(job_id).glob("process-*.log")]:
        size = path.stat().st_size
        if size > seen.get(path, 0):
            storage.remote.upload_growing(path)
            seen[path] = size


def download_logs(storage: Storage, job_id: str) -> Path:
    """The folder of the job's logs, each as long as it is in the shared storage or longer.

    A log only grows, and each attempt writes its own: the longer file is the newer one.
    """
    folder = storage.job_logs(job_id)
    storage.remote.download_grown(folder)
    return folder
