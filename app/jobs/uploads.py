"""An upload's way to the worker that reads it: it may be here, in the storage, or still with its host."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from app.context import AppContext
from app.errors import StorageUnavailableError, UploadMissingError
from app.jobs.claims import Claim
from app.models import Job, JobEvent
from app.models.base import utc_now
from app.schemas.job_payloads import UploadPayload

WAIT_SECONDS = 3600.0
"""The largest upload allowed, 20 GiB, takes that long at 50 Mbit/s; a restart of its host takes less."""


def download_upload(context: AppContext, claim: Claim) -> None:
    """Returns when the upload that the claimed job reads is in this home folder.

    Raises StorageUnavailableError while it is on its way, UploadMissingError once that took too long.
    """
    with context.db.read() as session:
        payload = UploadPayload.model_validate(session.get_one(Job, claim.job_id).payload)
        claimed_at = session.scalar(
            select(JobEvent.created_at)
            .where(JobEvent.job_id == claim.job_id, JobEvent.type == "status")
            .order_by(JobEvent.number.desc())
            .limit(1)
        )
    path = context.storage.find_upload(payload.source)
    if context.storage.remote.download(path).exists():
        return
    if claimed_at is not None and _waited(context, claimed_at) > WAIT_SECONDS:
        raise UploadMissingError(
            f"The upload did not reach the shared storage in {WAIT_SECONDS / 60:.0f} minutes. "
            f"Host {payload.host} has it.",
            hint=f"Start the API on host {payload.host}, which then uploads it, and retry the job.",
        )
    raise StorageUnavailableError(
        f"The upload is not in the shared storage yet; host {payload.host} is uploading it.",
        hint="Wait. If that host is off, start the API there: it continues the upload.",
    )


def _waited(context: AppContext, claimed_at: datetime) -> float:
    """Seconds since the claim. After an outage of the storage its host gets the whole time again."""
    return min((utc_now() - claimed_at).total_seconds(), context.storage.remote.answering_seconds())
