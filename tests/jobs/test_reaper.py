"""The reaper gives back what is lost, never what lives, and announces what nobody heard of."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import select

from app.context import AppContext
from app.job_queue import TASK_QUEUE, TRAINING_QUEUE
from app.jobs import claims, progress, reaper
from app.jobs.claims import MAX_LOSSES
from app.models import Lease
from app.models.base import db_now
from app.services import job_lifecycle
from tests.services.message_queue import MessageQueue
from tests.services.rows import add_job, change_job, events, expire, read_job


def nobody(_owner: str) -> bool:
    return False


@pytest.fixture
def heard(any_context: AppContext) -> tuple[AppContext, MessageQueue]:
    """A Loupe whose messages can be counted, flushed and refused; queued jobs are announced again at once."""
    queue = MessageQueue()
    # Below zero: whenever a job was announced, it is long enough ago, however coarse the database's clock.
    settings = any_context.settings.model_copy(update={"dispatch_seconds": -1.0})
    return replace(any_context, queue=queue, settings=settings), queue  # type: ignore[arg-type]


def run(context: AppContext, job: str, owner: str = "a") -> claims.Claim:
    claim = claims.claim(context, job, owner)
    assert claim is not None
    return claim


def test_of_many_reapers_one_works_at_a_time(any_context: AppContext) -> None:
    with ThreadPoolExecutor(6) as pool:
        took = list(pool.map(lambda o: reaper.take_reaper_lease(any_context, o, is_gone=nobody), "abcdef"))
    assert sum(took) == 1
    owner = "abcdef"[took.index(True)]
    assert reaper.take_reaper_lease(any_context, owner, is_gone=nobody)
    assert not reaper.take_reaper_lease(any_context, "other", is_gone=nobody)
    with any_context.db.write() as session:
        session.get_one(Lease, reaper.REAPER).until = session.scalars(select(db_now())).one() - 1
    assert reaper.take_reaper_lease(any_context, "other", is_gone=nobody)
    assert not reaper.take_reaper_lease(any_context, owner, is_gone=nobody)
    assert reaper.take_reaper_lease(any_context, owner, is_gone=lambda name: name == "other")


def test_an_expired_lease_is_given_back_and_a_good_one_is_not(any_context: AppContext) -> None:
    lost, well = run(any_context, add_job(any_context)), run(any_context, add_job(any_context))
    expire(any_context, lost.job_id)
    assert reaper.reclaim_lost_jobs(any_context, is_gone=nobody, trust_expiry=True) == [lost.job_id]
    assert read_job(any_context, lost.job_id).status == "queued"
    assert read_job(any_context, well.job_id).status == "running"
    with pytest.raises(claims.ClaimLostError):
        progress.report(any_context, lost, [])
    assert events(any_context, lost.job_id, "status")[-1]["reason"] == "worker_lost"
    assert run(any_context, lost.job_id, "b").fence == 2


def test_a_running_job_without_any_lease_is_never_skipped(any_context: AppContext) -> None:
    job = run(any_context, add_job(any_context)).job_id
    change_job(any_context, job, lease_until=None)
    assert reaper.reclaim_lost_jobs(any_context, is_gone=nobody, trust_expiry=True) == [job]


def test_after_an_outage_nothing_is_reclaimed_for_its_lease_alone(any_context: AppContext) -> None:
    jobs = [run(any_context, add_job(any_context), owner).job_id for owner in ("a", "b", "dead")]
    for job in jobs:
        expire(any_context, job)
    reclaimed = reaper.reclaim_lost_jobs(any_context, is_gone=lambda o: o == "dead", trust_expiry=False)
    assert reclaimed == [jobs[2]], "only the one whose process is known to have ended"


def test_a_worker_that_is_gone_from_this_machine_is_not_waited_for(any_context: AppContext) -> None:
    job = run(any_context, add_job(any_context), "dead").job_id
    assert reaper.reclaim_lost_jobs(any_context, is_gone=lambda o: o == "dead", trust_expiry=False) == [job]


def test_a_lost_job_that_was_to_be_cancelled_is_cancelled(any_context: AppContext) -> None:
    job = run(any_context, add_job(any_context)).job_id
    job_lifecycle.cancel_job(any_context, job)
    expire(any_context, job)
    reaper.reclaim_lost_jobs(any_context, is_gone=nobody, trust_expiry=True)
    assert read_job(any_context, job).status == "cancelled"


def test_a_job_that_loses_every_worker_fails_as_such(any_context: AppContext) -> None:
    job = add_job(any_context)
    for _ in range(MAX_LOSSES):
        assert read_job(any_context, job).status == "queued"
        run(any_context, job)
        expire(any_context, job)
        reaper.reclaim_lost_jobs(any_context, is_gone=nobody, trust_expiry=True)
    row = read_job(any_context, job)
    assert row.error is not None
    assert (row.status, row.error["code"], row.error["retryable"]) == ("failed", "worker_lost", True)


def test_what_redis_forgot_is_announced_again(heard: tuple[AppContext, MessageQueue]) -> None:
    context, queue = heard
    jobs = [add_job(context) for _ in range(3)] + [add_job(context, kind="export")]
    assert reaper.announce_unclaimed_jobs(context) == 4
    assert queue.messages == {TRAINING_QUEUE: jobs[:3], TASK_QUEUE: jobs[3:]}
    queue.flush()
    assert reaper.announce_unclaimed_jobs(context) == 4
    assert queue.messages == {TRAINING_QUEUE: jobs[:3], TASK_QUEUE: jobs[3:]}


def test_waiting_jobs_do_not_pile_up_in_redis(heard: tuple[AppContext, MessageQueue]) -> None:
    context, queue = heard
    for _ in range(5):
        add_job(context)
    for _ in range(10):
        reaper.announce_unclaimed_jobs(context)
    assert len(queue.messages[TRAINING_QUEUE]) == 5
    queue.messages[TRAINING_QUEUE].pop()
    assert reaper.announce_unclaimed_jobs(context) == 1


def test_nothing_is_announced_to_a_redis_that_is_away(heard: tuple[AppContext, MessageQueue]) -> None:
    context, queue = heard
    job = add_job(context)
    queue.is_away = True
    assert reaper.announce_unclaimed_jobs(context) == 0
    queue.is_away = False
    assert reaper.announce_unclaimed_jobs(context) == 1
    assert queue.messages[TRAINING_QUEUE] == [job]
