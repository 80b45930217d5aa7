"""Claim, report, release, fail, finish: only the claim that stands may change anything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.context import AppContext
from app.datasets.spec import ExportResult
from app.errors import CrashedError, UnavailableError, WorkerLostError
from app.jobs import claims, progress
from app.jobs.claims import MAX_LOSSES, Claim, ClaimLostError
from app.jobs.kinds.dataset_export import DatasetExport
from app.jobs.kinds.training import Training
from app.models import Alias, Evaluation, JobEpoch, JobStep, TrainedModel
from app.models.base import db_now
from app.schemas.progress_lines import AnyLine
from app.services import job_lifecycle
from tests.services import rows
from tests.services.rows import add_job, change_job, checkpoint, epoch, events, expire, plan, read_job, step

CRASH = CrashedError("segfault").as_dict()
EXPORTED = ExportResult(format="folders", items=1, bytes=1)
KILL = CrashedError("killed").as_dict()


def claimed(context: AppContext, job_id: str, owner: str = "a") -> Claim:
    claim = claims.claim(context, job_id, owner)
    assert claim is not None
    return claim


def lease_until(context: AppContext, claim: Claim) -> float:
    until = read_job(context, claim.job_id).lease_until
    assert until is not None
    return until


def test_of_many_claims_at_once_one_wins(any_context: AppContext) -> None:
    for _ in range(5):
        job = add_job(any_context)
        barrier = threading.Barrier(6)

        def compete(owner: str, job: str = job, barrier: threading.Barrier = barrier) -> Claim | None:
            barrier.wait()
            return claims.claim(any_context, job, owner)

        with ThreadPoolExecutor(6) as pool:
            won = [claim for claim in pool.map(compete, "abcdef") if claim is not None]
        assert len(won) == 1
        assert (read_job(any_context, job).fence, won[0].fence) == (1, 1)


def test_a_claim_gives_a_lease_by_the_databases_clock(any_context: AppContext) -> None:
    claim = claimed(any_context, add_job(any_context))
    with any_context.db.read() as session:
        now = session.scalars(select(db_now())).one()
    lease = lease_until(any_context, claim) - now
    assert 0 < lease <= any_context.settings.lease_seconds
    expire(any_context, claim.job_id)
    progress.report(any_context, claim, [])
    assert lease_until(any_context, claim) > now


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "paused"])
def test_a_job_that_does_not_wait_cannot_be_claimed(context: AppContext, status: str) -> None:
    assert claims.claim(context, add_job(context, status=status), "a") is None
    assert claims.claim(context, add_job(context, cancel_requested=True), "a") is None
    assert claims.claim(context, "job_unknown", "a") is None


def test_a_running_job_can_be_claimed_only_once_its_lease_has_run_out(any_context: AppContext) -> None:
    first = claimed(any_context, add_job(any_context))
    assert claims.claim(any_context, first.job_id, "b") is None
    expire(any_context, first.job_id)
    second = claimed(any_context, first.job_id, "b")
    assert (second.fence, second.attempt) == (2, 2)
    assert claims.claim(any_context, first.job_id, "c") is None


def test_an_expired_job_without_attempts_left_is_the_reapers_to_end(context: AppContext) -> None:
    job = add_job(context, attempts_without_checkpoint=context.settings.max_attempts - 1)
    claimed(context, job)
    expire(context, job)
    assert claims.claim(context, job, "b") is None


def _all_verbs(folder: Path) -> dict[str, Callable[[AppContext, Claim], Any]]:
    def finish_training(context: AppContext, claim: Claim) -> None:
        result = rows.leave_result(folder / f"{claim.job_id}-{claim.fence}")
        Training().finish(context, claim, result)

    return {
        "report": lambda context, claim: progress.report(context, claim, [plan(0), step(9), checkpoint(9)]),
        "poll": claims.poll,
        "release": claims.release,
        "retry_or_fail": lambda context, claim: claims.retry_or_fail(context, claim, CRASH),
        "fail": lambda context, claim: claims.fail(context, claim, CRASH),
        "cancelled": claims.cancelled,
        "finish_export": lambda context, claim: DatasetExport().finish(context, claim, EXPORTED),
        "finish_training": finish_training,
    }


def test_a_stale_fence_changes_nothing_anywhere(any_context: AppContext, tmp_path: Path) -> None:
    stale = claimed(any_context, add_job(any_context))
    expire(any_context, stale.job_id)
    fresh = claimed(any_context, stale.job_id, "b")
    progress.report(any_context, fresh, [plan(0), step(1), epoch(1, 1)])
    before = rows.dump(any_context)
    for name, verb in _all_verbs(tmp_path / "stale").items():
        with pytest.raises(ClaimLostError):
            verb(any_context, stale)
        assert rows.dump(any_context) == before, name
    progress.report(any_context, fresh, [step(2)])


def test_after_the_end_nothing_changes_any_more(any_context: AppContext, tmp_path: Path) -> None:
    claim = claimed(any_context, add_job(any_context))
    _all_verbs(tmp_path / "first")["finish_training"](any_context, claim)
    before = rows.dump(any_context)
    for name, verb in _all_verbs(tmp_path / "again").items():
        with pytest.raises(ClaimLostError):
            verb(any_context, claim)
        assert rows.dump(any_context) == before, name
    assert claims.claim(any_context, claim.job_id, "b") is None


def test_an_outage_in_the_middle_of_the_end_does_not_lose_the_model(
    context: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed(context, add_job(context))
    result = rows.leave_result(tmp_path / "left")
    write = context.db.write
    monkeypatch.setattr(context.db, "write", _refuse)
    with pytest.raises(UnavailableError):
        Training().finish(context, claim, result)
    monkeypatch.setattr(context.db, "write", write)
    Training().finish(context, claim, result)
    with context.db.read() as session:
        model = session.scalars(select(TrainedModel)).one()
        evaluation = session.scalars(select(Evaluation)).one()
    assert (context.storage.absolute(model.folder) / "manifest.json").is_file()
    assert (context.storage.absolute(evaluation.folder) / "predictions.csv").is_file()


def _refuse() -> None:
    raise UnavailableError("away")


def test_what_an_earlier_attempt_published_in_vain_is_removed(context: AppContext, tmp_path: Path) -> None:
    claim = claimed(context, add_job(context))
    result = rows.leave_result(tmp_path / "1")
    expire(context, claim.job_id)
    second = claimed(context, claim.job_id, "b")
    with pytest.raises(ClaimLostError):
        Training().finish(context, claim, result)
    Training().finish(context, second, rows.leave_result(tmp_path / "2"))
    with context.db.read() as session:
        folder = context.storage.absolute(session.scalars(select(TrainedModel)).one().folder)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_cancel_that_was_promised_wins_over_the_good_end(any_context: AppContext, tmp_path: Path) -> None:
    for name, verb in _all_verbs(tmp_path).items():
        if name in ("report", "poll", "cancelled"):
            continue
        claim = claimed(any_context, add_job(any_context))
        job_lifecycle.cancel_job(any_context, claim.job_id)
        verb(any_context, claim)
        assert read_job(any_context, claim.job_id).status == "cancelled", name
    with any_context.db.read() as session:
        assert session.scalar(select(func.count()).select_from(TrainedModel)) == 0
        assert session.scalar(select(func.count()).select_from(Alias)) == 0
    assert not list(any_context.storage.models.iterdir())


def test_a_released_job_waits_again_and_has_lost_none_of_its_attempts(any_context: AppContext) -> None:
    job = add_job(any_context)
    for fence in range(1, 8):
        claim = claimed(any_context, job)
        assert claim.fence == fence
        claims.release(any_context, claim)
    row = read_job(any_context, job)
    assert (row.status, row.attempts_without_checkpoint, row.lease_until) == ("queued", 0, None)


def test_three_crashes_without_a_checkpoint_end_a_job_with_their_reason(any_context: AppContext) -> None:
    job = add_job(any_context)
    for _ in range(2):
        claims.retry_or_fail(any_context, claimed(any_context, job), CRASH)
        assert read_job(any_context, job).status == "queued"
    claim = claimed(any_context, job)
    progress.report(any_context, claim, [plan(0), step(1), checkpoint(1)])
    claims.retry_or_fail(any_context, claim, CRASH)
    assert read_job(any_context, job).status == "queued", "the checkpoint gives it its attempts back"
    for _ in range(3):
        claims.retry_or_fail(any_context, claimed(any_context, job), CRASH)
    row = read_job(any_context, job)
    assert row.error is not None
    assert (row.status, row.error["code"], row.attempt) == ("failed", "crashed", 6)
    assert row.error["detail"] == "segfault"


def test_kills_from_outside_are_not_held_against_a_job_until_there_are_ten(any_context: AppContext) -> None:
    job = add_job(any_context)
    for _ in range(MAX_LOSSES - 1):
        claims.retry_or_fail(any_context, claimed(any_context, job), KILL, is_from_outside=True)
        assert read_job(any_context, job).status == "queued"
    claims.retry_or_fail(any_context, claimed(any_context, job), KILL, is_from_outside=True)
    assert read_job(any_context, job).status == "failed"

    other = add_job(any_context)
    for _ in range(2):
        claims.retry_or_fail(any_context, claimed(any_context, other), CRASH)
    for _ in range(MAX_LOSSES - 1):
        claims.retry_or_fail(any_context, claimed(any_context, other), KILL, is_from_outside=True)
        assert read_job(any_context, other).status == "queued"
    claims.retry_or_fail(any_context, claimed(any_context, other), CRASH)
    assert read_job(any_context, other).status == "failed", "its own third crash"


def test_a_retry_starts_the_counts_anew(context: AppContext) -> None:
    from app.schemas.job import JobRetry

    job = add_job(context)
    lost = WorkerLostError("gone").as_dict()
    for _ in range(MAX_LOSSES):
        claims.retry_or_fail(context, claimed(context, job), lost, is_from_outside=True)
    error = read_job(context, job).error
    assert error is not None
    assert error["code"] == "worker_lost"
    job_lifecycle.retry_job(context, job, JobRetry(start="checkpoint"))
    claims.retry_or_fail(context, claimed(context, job), lost, is_from_outside=True)
    assert read_job(context, job).status == "queued"


def test_a_job_lost_while_it_was_to_pause_is_paused(any_context: AppContext) -> None:
    claim = claimed(any_context, add_job(any_context))
    job_lifecycle.pause_job(any_context, claim.job_id)
    claims.retry_or_fail(any_context, claim, KILL, is_from_outside=True)
    assert read_job(any_context, claim.job_id).status == "paused"
    job_lifecycle.resume_job(any_context, claim.job_id)
    assert claimed(any_context, claim.job_id).fence == 2


def _series(context: AppContext, job: str) -> tuple[list[int], list[int]]:
    with context.db.read() as session:
        steps = session.scalars(select(JobStep.step).where(JobStep.job_id == job).order_by(JobStep.step))
        epochs = session.scalars(
            select(JobEpoch.epoch).where(JobEpoch.job_id == job).order_by(JobEpoch.epoch)
        )
        return list(steps), list(epochs)


def test_the_series_go_on_from_where_an_attempt_starts(any_context: AppContext) -> None:
    job = add_job(any_context)
    first = claimed(any_context, job)
    lines: list[AnyLine]
    lines = [plan(0), step(1), step(2), epoch(1, 2), step(3, 2), step(4, 2), epoch(2, 4), step(5, 3)]
    progress.report(any_context, first, lines)
    progress.report(any_context, first, lines[-2:])
    assert _series(any_context, job) == ([1, 2, 3, 4, 5], [1, 2])
    assert read_job(any_context, job).best == {"epoch": 2, "metric": "valid_loss", "value": 0.5}
    expire(any_context, job)

    second = claimed(any_context, job, "b")
    progress.report(any_context, second, [plan(3)])
    assert _series(any_context, job) == ([1, 2, 3], [1])
    assert read_job(any_context, job).best == {"epoch": 1, "metric": "valid_loss", "value": 1.0}
    progress.report(any_context, second, [step(4, 2), epoch(2, 4, best=False)])
    assert _series(any_context, job) == ([1, 2, 3, 4], [1, 2])
    expire(any_context, job)

    third = claimed(any_context, job, "c")
    progress.report(any_context, third, [plan(0)])
    assert _series(any_context, job) == ([], [])
    assert read_job(any_context, job).best is None


def test_an_attempts_story_is_told_by_events(any_context: AppContext) -> None:
    job = add_job(any_context)
    claims.retry_or_fail(any_context, claimed(any_context, job), KILL, is_from_outside=True)
    progress.report(any_context, claimed(any_context, job), [checkpoint(7, "/c/1")])
    told = [
        (data["status"], data.get("reason"), data.get("attempt"))
        for data in events(any_context, job, "status")
    ]
    assert told == [
        ("queued", None, None), ("running", None, 1), ("queued", "crashed", None), ("running", None, 2),
    ]  # fmt: skip
    assert events(any_context, job, "checkpoint") == [
        {"step": 7, "epoch": 1, "folder": "/c/1", "digest": "d"},
    ]  # fmt: skip


def test_an_ended_job_keeps_only_what_can_still_be_used(context: AppContext) -> None:
    upload = context.storage.upload()
    upload.write_bytes(b"zip")
    job = add_job(context, kind="import", fence=1, payload={"source": str(upload), "is_upload": True})
    kept = [context.storage.job_checkpoints(job), context.storage.attempt(job, 1)]
    for folder in kept:
        folder.mkdir(parents=True)
    job_lifecycle.clean_up(context, job)
    assert upload.exists()
    assert all(folder.exists() for folder in kept)
    change_job(context, job, status="failed")
    job_lifecycle.clean_up(context, job)
    assert [folder.exists() for folder in kept] == [True, False]
    assert not upload.exists()
    change_job(context, job, status="succeeded")
    job_lifecycle.clean_up(context, job)
    assert not kept[0].exists()
