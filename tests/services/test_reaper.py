"""The reaper gives back what is lost, never what lives, and announces what nobody heard of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select

from app.job_queue import TASK_QUEUE, TRAINING_QUEUE
from app.models import Lease
from app.models.base import db_now
from app.runtime import Runtime
from app.services import job_lifecycle, job_runs, reaper
from app.services.job_runs import MAX_LOSSES
from tests.services.message_queue import MessageQueue
from tests.services.rows import add_job, change_job, events, expire, read_job


def nobody(_owner: str) -> bool:
    return False


@pytest.fixture
def heard(any_runtime: Runtime) -> tuple[Runtime, MessageQueue]:
    """A Loupe whose messages can be counted, flushed and refused; queued jobs are announced again at once."""
    queue = MessageQueue()
    # Below zero: whenever a job was announced, it is long enough ago, however coarse the database's clock.
    settings = any_runtime.settings.model_copy(update={"dispatch_seconds": -1.0})
    return replace(any_runtime, queue=queue, settings=settings), queue  # type: ignore[arg-type]


def run(runtime: Runtime, job: str, owner: str = "a") -> job_runs.Claim:
    claim = job_runs.claim(runtime, job, owner)
    assert claim is not None
    return claim


def test_of_many_reapers_one_works_at_a_time(any_runtime: Runtime) -> None:
    with ThreadPoolExecutor(6) as pool:
        took = list(pool.map(lambda o: reaper.take_reaper_lease(any_runtime, o, is_gone=nobody), "abcdef"))
    assert sum(took) == 1
    owner = "abcdef"[took.index(True)]
    assert reaper.take_reaper_lease(any_runtime, owner, is_gone=nobody)
    assert not reaper.take_reaper_lease(any_runtime, "other", is_gone=nobody)
    with any_runtime.db.write() as session:
        session.get_one(Lease, reaper.REAPER).until = session.scalar(select(db_now())) - 1
    assert reaper.take_reaper_lease(any_runtime, "other", is_gone=nobody)
    assert not reaper.take_reaper_lease(any_runtime, owner, is_gone=nobody)
    assert reaper.take_reaper_lease(any_runtime, owner, is_gone=lambda name: name == "other")


def test_an_expired_lease_is_given_back_and_a_good_one_is_not(any_runtime: Runtime) -> None:
    lost, well = run(any_runtime, add_job(any_runtime)), run(any_runtime, add_job(any_runtime))
    expire(any_runtime, lost.job_id)
    assert reaper.reclaim_lost_jobs(any_runtime, is_gone=nobody, trust_expiry=True) == [lost.job_id]
    assert read_job(any_runtime, lost.job_id).status == "queued"
    assert read_job(any_runtime, well.job_id).status == "running"
    with pytest.raises(job_runs.ClaimLostError):
        job_runs.report(any_runtime, lost, [])
    assert events(any_runtime, lost.job_id, "status")[-1]["reason"] == "worker_lost"
    assert run(any_runtime, lost.job_id, "b").fence == 2


def test_a_running_job_without_any_lease_is_never_skipped(any_runtime: Runtime) -> None:
    job = run(any_runtime, add_job(any_runtime)).job_id
    change_job(any_runtime, job, lease_until=None)
    assert reaper.reclaim_lost_jobs(any_runtime, is_gone=nobody, trust_expiry=True) == [job]


def test_after_an_outage_nothing_is_reclaimed_for_its_lease_alone(any_runtime: Runtime) -> None:
    jobs = [run(any_runtime, add_job(any_runtime), owner).job_id for owner in ("a", "b", "dead")]
    for job in jobs:
        expire(any_runtime, job)
    reclaimed = reaper.reclaim_lost_jobs(any_runtime, is_gone=lambda o: o == "dead", trust_expiry=False)
    assert reclaimed == [jobs[2]], "only the one whose process is known to have ended"


def test_a_worker_that_is_gone_from_this_machine_is_not_waited_for(any_runtime: Runtime) -> None:
    job = run(any_runtime, add_job(any_runtime), "dead").job_id
    assert reaper.reclaim_lost_jobs(any_runtime, is_gone=lambda o: o == "dead", trust_expiry=False) == [job]


def test_a_lost_job_that_was_to_be_cancelled_is_cancelled(any_runtime: Runtime) -> None:
    job = run(any_runtime, add_job(any_runtime)).job_id
    job_lifecycle.cancel_job(any_runtime, job)
    expire(any_runtime, job)
    reaper.reclaim_lost_jobs(any_runtime, is_gone=nobody, trust_expiry=True)
    assert read_job(any_runtime, job).status == "cancelled"


def test_a_job_that_loses_every_worker_fails_as_such(any_runtime: Runtime) -> None:
    job = add_job(any_runtime)
    for _ in range(MAX_LOSSES):
        assert read_job(any_runtime, job).status == "queued"
        run(any_runtime, job)
        expire(any_runtime, job)
        reaper.reclaim_lost_jobs(any_runtime, is_gone=nobody, trust_expiry=True)
    row = read_job(any_runtime, job)
    assert (row.status, row.error["code"], row.error["retryable"]) == ("failed", "worker_lost", True)


def test_what_redis_forgot_is_announced_again(heard: tuple[Runtime, MessageQueue]) -> None:
    runtime, queue = heard
    jobs = [add_job(runtime) for _ in range(3)] + [add_job(runtime, kind="export")]
    assert reaper.announce_unheard_jobs(runtime) == 4
    assert queue.messages == {TRAINING_QUEUE: jobs[:3], TASK_QUEUE: jobs[3:]}
    queue.flush()
    assert reaper.announce_unheard_jobs(runtime) == 4
    assert queue.messages == {TRAINING_QUEUE: jobs[:3], TASK_QUEUE: jobs[3:]}


def test_waiting_jobs_do_not_pile_up_in_redis(heard: tuple[Runtime, MessageQueue]) -> None:
    runtime, queue = heard
    for _ in range(5):
        add_job(runtime)
    for _ in range(10):
        reaper.announce_unheard_jobs(runtime)
    assert len(queue.messages[TRAINING_QUEUE]) == 5
    queue.messages[TRAINING_QUEUE].pop()
    assert reaper.announce_unheard_jobs(runtime) == 1


def test_nothing_is_announced_to_a_redis_that_is_away(heard: tuple[Runtime, MessageQueue]) -> None:
    runtime, queue = heard
    job = add_job(runtime)
    queue.is_away = True
    assert reaper.announce_unheard_jobs(runtime) == 0
    queue.is_away = False
    assert reaper.announce_unheard_jobs(runtime) == 1
    assert queue.messages[TRAINING_QUEUE] == [job]
