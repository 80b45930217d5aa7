"""What a key may have at one time: jobs and images. Counted in the transaction that would add to them."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.config import Settings
from app.db import caller_of
from app.errors import LimitReachedError
from app.models import ApiKey, Dataset, Job
from app.schemas.limits import NO_LIMITS, Limits

RETRY_SECONDS = 30
LONG_SECONDS = 3600
"""Images go when somebody deletes a dataset: nothing says when that is."""


def default_limits(settings: Settings) -> Limits:
    """The limits of keys that state none."""
    return Limits(**{name: getattr(settings, f"key_{name}") for name in Limits.model_fields})


def charge_job(session: Session, job: Job) -> None:
    """Counts a job that is queued, or queued again, for the key that asks. Raises LimitReachedError.

    The key's row is held, so that of two requests at once the second counts the job of the first. It is the
    last row that any verb takes.
    """
    caller = caller_of(session)
    job.key_id = caller.key_id
    most = caller.limits.concurrent_jobs
    if caller.key_id is None or most is None:
        return
    session.get(ApiKey, caller.key_id, with_for_update=True)
    of_key = (Job.key_id == caller.key_id, Job.status.in_(("queued", "running")), Job.id != job.id)
    with session.no_autoflush:
        others = session.scalar(select(func.count(Job.id)).where(*of_key)) or 0
    if others >= most:
        raise LimitReachedError(
            "jobs",
            f"The key may have {most:,} jobs queued or running at a time, and has {others:,}.",
            hint="Wait until one ends, or cancel one.",
            retry_after=RETRY_SECONDS,
        )


def charge_dataset(session: Session, dataset: Dataset) -> None:
    """Counts the images of a dataset for the key that asks. Raises LimitReachedError if it has no room."""
    caller = caller_of(session)
    dataset.key_id = caller.key_id
    most = caller.limits.stored_images
    if caller.key_id is not None and most is not None:
        stored = _count_images(session, caller.key_id)
        if stored >= most:
            raise _too_many_images(most, stored)


def require_room_for_images(session: Session, dataset: Dataset, defaults: Limits) -> None:
    """For the end of an import, once the dataset's count is stored: Raises LimitReachedError.

    A key that is gone meanwhile has no limits.
    """
    if dataset.key_id is None:
        return
    session.flush()
    most = _limits_of(session.get(ApiKey, dataset.key_id, with_for_update=True), defaults).stored_images
    if most is not None and (stored := _count_images(session, dataset.key_id)) > most:
        raise _too_many_images(most, stored)


def limits_of_job(session: Session, job: Job, defaults: Limits) -> Limits:
    """The limits, as they are now, of the key that queued a job; none where that had no key."""
    return _limits_of(session.get(ApiKey, job.key_id) if job.key_id is not None else None, defaults)


def _limits_of(key: ApiKey | None, defaults: Limits) -> Limits:
    return NO_LIMITS if key is None else Limits(**(key.limits or {})).or_else(defaults)


def _count_images(session: Session, key_id: str) -> int:
    counted = select(func.coalesce(func.sum(Dataset.items), 0)).where(
        Dataset.key_id == key_id, Dataset.status == "ready"
    )
    return int(session.scalar(counted) or 0)


def _too_many_images(most: int, stored: int) -> LimitReachedError:
    return LimitReachedError(
        "images",
        f"The key may have {most:,} images in its datasets, and it would have {stored:,} or more.",
        hint="Delete datasets that nobody needs (`DELETE /datasets/<id>`), or have the limit raised.",
        retry_after=LONG_SECONDS,
    )
