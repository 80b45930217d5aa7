"""Claim, report, release, fail, finish: only the claim that stands may change anything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.errors import CrashedError, UnavailableError, WorkerLostError
from app.models import Alias, Evaluation, JobEpoch, JobStep, TrainedModel
from app.models.base import db_now
from app.runtime import Runtime
from app.services import job_lifecycle, job_results, job_runs
from app.services.job_runs import MAX_LOSSES, Claim, ClaimLostError
from tests.services import rows
from tests.services.rows import add_job, change_job, checkpoint, epoch, events, expire, plan, read_job, step

CRASH = CrashedError("segfault").as_dict()
KILL = CrashedError("killed").as_dict()


def claimed(runtime: Runtime, job_id: str, owner: str = "a") -> Claim:
    claim = job_runs.claim(runtime, job_id, owner)
    assert claim is not None
    return claim


def test_of_many_claims_at_once_one_wins(any_runtime: Runtime) -> None:
    for _ in range(5):
        job = add_job(any_runtime)
        barrier = threading.Barrier(6)

        def compete(owner: str, job: str = job, barrier: threading.Barrier = barrier) -> Claim | None:
            barrier.wait()
            return job_runs.claim(any_runtime, job, owner)

        with ThreadPoolExecutor(6) as pool:
            claims = [claim for claim in pool.map(compete, "abcdef") if claim is not None]
        assert len(claims) == 1
        assert (read_job(any_runtime, job).fence, claims[0].fence) == (1, 1)


def test_a_claim_gives_a_lease_by_the_databases_clock(any_runtime: Runtime) -> None:
    claim = claimed(any_runtime, add_job(any_runtime))
    with any_runtime.db.read() as session:
        now = session.scalar(select(db_now()))
    lease = read_job(any_runtime, claim.job_id).lease_until - now
    assert 0 < lease <= any_runtime.settings.lease_seconds
    expire(any_runtime, claim.job_id)
    job_runs.report(any_runtime, claim, [])
    assert read_job(any_runtime, claim.job_id).lease_until > now


@pytest.mark.parametrize("status", ["succeeded", "failed", "cancelled", "paused"])
def test_a_job_that_does_not_wait_cannot_be_claimed(runtime: Runtime, status: str) -> None:
    assert job_runs.claim(runtime, add_job(runtime, status=status), "a") is None
    assert job_runs.claim(runtime, add_job(runtime, cancel_requested=True), "a") is None
    assert job_runs.claim(runtime, "job_unknown", "a") is None


def test_a_running_job_can_be_claimed_only_once_its_lease_has_run_out(any_runtime: Runtime) -> None:
    first = claimed(any_runtime, add_job(any_runtime))
    assert job_runs.claim(any_runtime, first.job_id, "b") is None
    expire(any_runtime, first.job_id)
    second = claimed(any_runtime, first.job_id, "b")
    assert (second.fence, second.attempt) == (2, 2)
    assert job_runs.claim(any_runtime, first.job_id, "c") is None


def test_an_expired_job_without_attempts_left_is_the_reapers_to_end(runtime: Runtime) -> None:
    job = add_job(runtime, attempts_without_checkpoint=runtime.settings.max_attempts - 1)
    claimed(runtime, job)
    expire(runtime, job)
    assert job_runs.claim(runtime, job, "b") is None


def _all_verbs(folder: Path) -> dict[str, Callable[[Runtime, Claim], Any]]:
    def finish_training(runtime: Runtime, claim: Claim) -> None:
        result = rows.leave_result(folder / f"{claim.job_id}-{claim.fence}")
        job_results.finish_training(runtime, claim, result)

    return {
        "report": lambda runtime, claim: job_runs.report(runtime, claim, [plan(0), step(9), checkpoint(9)]),
        "look": job_runs.look,
        "release": job_runs.release,
        "retry_or_fail": lambda runtime, claim: job_runs.retry_or_fail(runtime, claim, CRASH),
        "fail": lambda runtime, claim: job_runs.fail(runtime, claim, CRASH),
        "cancelled": job_runs.cancelled,
        "finish_export": lambda runtime, claim: job_runs.finish_export(runtime, claim, {"bytes": 1}),
        "finish_training": finish_training,
    }


def test_a_stale_fence_changes_nothing_anywhere(any_runtime: Runtime, tmp_path: Path) -> None:
    stale = claimed(any_runtime, add_job(any_runtime))
    expire(any_runtime, stale.job_id)
    fresh = claimed(any_runtime, stale.job_id, "b")
    job_runs.report(any_runtime, fresh, [plan(0), step(1), epoch(1, 1)])
    before = rows.dump(any_runtime)
    for name, verb in _all_verbs(tmp_path / "stale").items():
        with pytest.raises(ClaimLostError):
            verb(any_runtime, stale)
        assert rows.dump(any_runtime) == before, name
    job_runs.report(any_runtime, fresh, [step(2)])


def test_after_the_end_nothing_changes_any_more(any_runtime: Runtime, tmp_path: Path) -> None:
    claim = claimed(any_runtime, add_job(any_runtime))
    _all_verbs(tmp_path / "first")["finish_training"](any_runtime, claim)
    before = rows.dump(any_runtime)
    for name, verb in _all_verbs(tmp_path / "again").items():
        with pytest.raises(ClaimLostError):
            verb(any_runtime, claim)
        assert rows.dump(any_runtime) == before, name
    assert job_runs.claim(any_runtime, claim.job_id, "b") is None


def test_an_outage_in_the_middle_of_the_end_does_not_lose_the_model(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = claimed(runtime, add_job(runtime))
    result = rows.leave_result(tmp_path / "left")
    write = runtime.db.write
    monkeypatch.setattr(runtime.db, "write", _refuse)
    with pytest.raises(UnavailableError):
        job_results.finish_training(runtime, claim, result)
    monkeypatch.setattr(runtime.db, "write", write)
    job_results.finish_training(runtime, claim, result)
    with runtime.db.read() as session:
        model = session.scalars(select(TrainedModel)).one()
        evaluation = session.scalars(select(Evaluation)).one()
    assert (runtime.storage.absolute(model.folder) / "manifest.json").is_file()
    assert (runtime.storage.absolute(evaluation.folder) / "predictions.csv").is_file()


def _refuse() -> None:
    raise UnavailableError("away")


def test_what_an_earlier_attempt_published_in_vain_is_removed(runtime: Runtime, tmp_path: Path) -> None:
    claim = claimed(runtime, add_job(runtime))
    result = rows.leave_result(tmp_path / "1")
    expire(runtime, claim.job_id)
    second = claimed(runtime, claim.job_id, "b")
    with pytest.raises(ClaimLostError):
        job_results.finish_training(runtime, claim, result)
    job_results.finish_training(runtime, second, rows.leave_result(tmp_path / "2"))
    with runtime.db.read() as session:
        folder = runtime.storage.absolute(session.scalars(select(TrainedModel)).one().folder)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_cancel_that_was_promised_wins_over_the_good_end(any_runtime: Runtime, tmp_path: Path) -> None:
    for name, verb in _all_verbs(tmp_path).items():
        if name in ("report", "look", "cancelled"):
            continue
        claim = claimed(any_runtime, add_job(any_runtime))
        job_lifecycle.cancel_job(any_runtime, claim.job_id)
        verb(any_runtime, claim)
        assert read_job(any_runtime, claim.job_id).status == "cancelled", name
    with any_runtime.db.read() as session:
        assert session.scalar(select(func.count()).select_from(TrainedModel)) == 0
        assert session.scalar(select(func.count()).select_from(Alias)) == 0
    assert not list(any_runtime.storage.models.iterdir())


def test_a_released_job_waits_again_and_has_lost_none_of_its_attempts(any_runtime: Runtime) -> None:
    job = add_job(any_runtime)
    for fence in range(1, 8):
        claim = claimed(any_runtime, job)
        assert claim.fence == fence
        job_runs.release(any_runtime, claim)
    row = read_job(any_runtime, job)
    assert (row.status, row.attempts_without_checkpoint, row.lease_until) == ("queued", 0, None)


def test_three_crashes_without_a_checkpoint_end_a_job_with_their_reason(any_runtime: Runtime) -> None:
    job = add_job(any_runtime)
    for _ in range(2):
        job_runs.retry_or_fail(any_runtime, claimed(any_runtime, job), CRASH)
        assert read_job(any_runtime, job).status == "queued"
    claim = claimed(any_runtime, job)
    job_runs.report(any_runtime, claim, [plan(0), step(1), checkpoint(1)])
    job_runs.retry_or_fail(any_runtime, claim, CRASH)
    assert read_job(any_runtime, job).status == "queued", "the checkpoint gives it its attempts back"
    for _ in range(3):
        job_runs.retry_or_fail(any_runtime, claimed(any_runtime, job), CRASH)
    row = read_job(any_runtime, job)
    assert (row.status, row.error["code"], row.attempt) == ("failed", "crashed", 6)
    assert row.error["detail"] == "segfault"


def test_kills_from_outside_are_not_held_against_a_job_until_there_are_ten(any_runtime: Runtime) -> None:
    job = add_job(any_runtime)
    for _ in range(MAX_LOSSES - 1):
        job_runs.retry_or_fail(any_runtime, claimed(any_runtime, job), KILL, is_from_outside=True)
        assert read_job(any_runtime, job).status == "queued"
    job_runs.retry_or_fail(any_runtime, claimed(any_runtime, job), KILL, is_from_outside=True)
    assert read_job(any_runtime, job).status == "failed"

    other = add_job(any_runtime)
    for _ in range(2):
        job_runs.retry_or_fail(any_runtime, claimed(any_runtime, other), CRASH)
    for _ in range(MAX_LOSSES - 1):
        job_runs.retry_or_fail(any_runtime, claimed(any_runtime, other), KILL, is_from_outside=True)
        assert read_job(any_runtime, other).status == "queued"
    job_runs.retry_or_fail(any_runtime, claimed(any_runtime, other), CRASH)
    assert read_job(any_runtime, other).status == "failed", "its own third crash"


def test_a_retry_starts_the_counts_anew(runtime: Runtime) -> None:
    from app.schemas.job import JobRetry

    job = add_job(runtime)
    lost = WorkerLostError("gone").as_dict()
    for _ in range(MAX_LOSSES):
        job_runs.retry_or_fail(runtime, claimed(runtime, job), lost, is_from_outside=True)
    assert read_job(runtime, job).error["code"] == "worker_lost"
    job_lifecycle.retry_job(runtime, job, JobRetry(start="checkpoint"))
    job_runs.retry_or_fail(runtime, claimed(runtime, job), lost, is_from_outside=True)
    assert read_job(runtime, job).status == "queued"


def test_a_job_lost_while_it_was_to_pause_is_paused(any_runtime: Runtime) -> None:
    claim = claimed(any_runtime, add_job(any_runtime))
    job_lifecycle.pause_job(any_runtime, claim.job_id)
    job_runs.retry_or_fail(any_runtime, claim, KILL, is_from_outside=True)
    assert read_job(any_runtime, claim.job_id).status == "paused"
    job_lifecycle.resume_job(any_runtime, claim.job_id)
    assert claimed(any_runtime, claim.job_id).fence == 2


def _series(runtime: Runtime, job: str) -> tuple[list[int], list[int]]:
    with runtime.db.read() as session:
        steps = session.scalars(select(JobStep.step).where(JobStep.job_id == job).order_by(JobStep.step))
        epochs = session.scalars(
            select(JobEpoch.epoch).where(JobEpoch.job_id == job).order_by(JobEpoch.epoch)
        )
        return list(steps), list(epochs)


def test_the_series_go_on_from_where_an_attempt_starts(any_runtime: Runtime) -> None:
    job = add_job(any_runtime)
    first = claimed(any_runtime, job)
    lines = [plan(0), step(1), step(2), epoch(1, 2), step(3, 2), step(4, 2), epoch(2, 4), step(5, 3)]
    job_runs.report(any_runtime, first, lines)
    job_runs.report(any_runtime, first, lines[-2:])
    assert _series(any_runtime, job) == ([1, 2, 3, 4, 5], [1, 2])
    assert read_job(any_runtime, job).best == {"epoch": 2, "metric": "valid_loss", "value": 0.5}
    expire(any_runtime, job)

    second = claimed(any_runtime, job, "b")
    job_runs.report(any_runtime, second, [plan(3)])
    assert _series(any_runtime, job) == ([1, 2, 3], [1])
    assert read_job(any_runtime, job).best == {"epoch": 1, "metric": "valid_loss", "value": 1.0}
    job_runs.report(any_runtime, second, [step(4, 2), epoch(2, 4, best=False)])
    assert _series(any_runtime, job) == ([1, 2, 3, 4], [1, 2])
    expire(any_runtime, job)

    third = claimed(any_runtime, job, "c")
    job_runs.report(any_runtime, third, [plan(0)])
    assert _series(any_runtime, job) == ([], [])
    assert read_job(any_runtime, job).best is None


def test_an_attempts_story_is_told_by_events(any_runtime: Runtime) -> None:
    job = add_job(any_runtime)
    job_runs.retry_or_fail(any_runtime, claimed(any_runtime, job), KILL, is_from_outside=True)
    job_runs.report(any_runtime, claimed(any_runtime, job), [checkpoint(7, "/c/1")])
    told = [
        (data["status"], data.get("reason"), data.get("attempt"))
        for data in events(any_runtime, job, "status")
    ]
    assert told == [
        ("queued", None, None), ("running", None, 1), ("queued", "crashed", None), ("running", None, 2),
    ]  # fmt: skip
    assert events(any_runtime, job, "checkpoint") == [
        {"step": 7, "epoch": 1, "folder": "/c/1", "digest": "d"},
    ]  # fmt: skip


def test_an_ended_job_keeps_only_what_can_still_be_used(runtime: Runtime) -> None:
    upload = runtime.storage.upload()
    upload.write_bytes(b"zip")
    job = add_job(runtime, fence=1, payload={"source": str(upload), "is_upload": True})
    kept = [runtime.storage.job_checkpoints(job), runtime.storage.attempt(job, 1)]
    for folder in kept:
        folder.mkdir(parents=True)
    job_lifecycle.clean_up(runtime, job)
    assert upload.exists()
    assert all(folder.exists() for folder in kept)
    change_job(runtime, job, status="failed")
    job_lifecycle.clean_up(runtime, job)
    assert [folder.exists() for folder in kept] == [True, False]
    assert not upload.exists()
    change_job(runtime, job, status="succeeded")
    job_lifecycle.clean_up(runtime, job)
    assert not kept[0].exists()
