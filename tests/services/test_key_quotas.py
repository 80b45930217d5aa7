"""An import that would give its key too many images fails at its end, and says why"""

from __future__ import annotations

import threading

import pytest

from app.context import AppContext
from app.datasets.spec import ImportResult
from app.errors import LimitReachedError, LoupeError
from app.jobs import claims
from app.jobs.claims import Claim
from app.jobs.kinds.dataset_import import DatasetImport
from app.models import ApiKey, Dataset, Job
from app.services.job_lifecycle import needs_upload
from app.workers.supervisor import WAIT_FOR_A_PERSON
from tests.services.rows import add_job, read_job


def importing(context: AppContext, key: str | None = "key_1") -> Claim:
    """An import of that key, claimed."""
    job_id = add_job(context, kind="import")
    with context.db.write() as session:
        dataset = session.get_one(Dataset, session.get_one(Job, job_id).dataset)
        dataset.status, dataset.key_id = "importing", key
    claim = claims.claim(context, job_id, "a")
    assert claim is not None
    return claim


def result_of(images: int) -> ImportResult:
    return ImportResult(digest="d", classes=(), counts={}, items=images, skipped=0, warnings=())


def add_key(context: AppContext, limits: dict[str, int] | None) -> None:
    with context.db.write() as session:
        session.add(
            ApiKey(id="key_1", name="k", prefix="p", secret_sha256="0" * 64, scopes=["write"], limits=limits)
        )


def test_the_last_image_that_fits_is_imported_and_one_more_is_not(any_context: AppContext) -> None:
    add_key(any_context, {"stored_images": 10})
    DatasetImport().finish(any_context, importing(any_context), result_of(6))
    DatasetImport().finish(any_context, importing(any_context), result_of(4))
    claim = importing(any_context)
    with pytest.raises(LimitReachedError, match="10 images in its datasets, and it would have 11"):
        DatasetImport().finish(any_context, claim, result_of(1))
    assert read_job(any_context, claim.job_id).status == "running"
    DatasetImport().finish(any_context, importing(any_context, key=None), result_of(100))


def test_two_imports_that_end_at_once_do_not_both_pass(any_context: AppContext) -> None:
    add_key(any_context, {"stored_images": 10})
    ends = [importing(any_context) for _ in range(4)]
    errors: list[LoupeError] = []

    def end(claim: Claim) -> None:
        try:
            DatasetImport().finish(any_context, claim, result_of(10))
        except LimitReachedError as error:
            errors.append(error)

    threads = [threading.Thread(target=end, args=(claim,)) for claim in ends]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 3


def test_the_setting_counts_for_keys_that_state_none(any_context: AppContext) -> None:
    add_key(any_context, None)
    DatasetImport().finish(any_context, importing(any_context), result_of(1000))
    object.__setattr__(
        any_context, "settings", any_context.settings.model_copy(update={"key_stored_images": 5})
    )
    with pytest.raises(LimitReachedError):
        DatasetImport().finish(any_context, importing(any_context), result_of(1))


def test_it_waits_for_a_person_with_its_upload() -> None:
    assert LimitReachedError.code in WAIT_FOR_A_PERSON
    error = LimitReachedError("images", "x", hint="y", retry_after=1).as_dict()
    assert needs_upload(Job(kind="import", status="failed", error=error))
