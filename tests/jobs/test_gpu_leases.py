"""Which worker may take which training, and GPUs that two trainings never share."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, rule, run_state_machine_as_test
from sqlalchemy import select, update

from app.context import AppContext
from app.errors import CrashedError
from app.host.gpus import Gpu
from app.host.machine import Machine
from app.job_queue import CPU_QUEUE, GPU_QUEUE, TASK_QUEUE, TRAINING_QUEUE
from app.jobs import claims, progress, reaper
from app.jobs.claims import Claim, ClaimLostError
from app.jobs.gpu_leases import NoFreeGpuError, Offer
from app.models import Job, Worker
from app.models.base import db_now
from app.services import job_lifecycle, jobs, workers
from app.services.workers import LIVING_SECONDS, Registration
from tests.services.rows import add_job, change_job, events, expire, read_job

CRASH = CrashedError("segfault").as_dict()
GPUS = tuple(Gpu(f"GPU-{letter * 8}", "NVIDIA L40S", number) for number, letter in enumerate("abcd"))
ONE, TWO = Offer(GPUS[:1]), Offer(GPUS[:2])
ONLY_GPU, ONLY_CPU, NOTHING = Offer(GPUS[:1], cpu=False), Offer(), Offer(cpu=False)


def claim(context: AppContext, job: str, offer: Offer, owner: str = "a") -> Claim | None:
    """None also where the GPUs are in use."""
    try:
        return claims.claim(context, job, owner, offer)
    except NoFreeGpuError:
        return None


def claimed(context: AppContext, offer: Offer, **fields: Any) -> Claim:
    taken = claim(context, add_job(context, **fields), offer)
    assert taken is not None
    return taken


def register(context: AppContext, gpus: tuple[Gpu, ...]) -> None:
    devices = Machine.of_this_process(gpus).as_dict()
    workers.beat(
        context,
        Registration.new(owner="a", host="here", pid=1, queue="training", concurrency=1, devices=devices),
    )


def hint(context: AppContext, job: str) -> str | None:
    return jobs.get_job(context, job).waits_for


@pytest.mark.parametrize(
    ("device", "takers"),
    [("auto", [ONE, ONLY_GPU, ONLY_CPU]), ("gpu", [ONE, ONLY_GPU]), ("cpu", [ONE, ONLY_CPU])],
)
def test_a_worker_takes_the_trainings_that_it_has_a_device_for(
    any_context: AppContext, device: str, takers: list[Offer]
) -> None:
    for offer in (ONE, ONLY_GPU, ONLY_CPU, NOTHING):
        job = add_job(any_context, device=device)
        listed = claims.list_waiting(any_context, {TRAINING_QUEUE, CPU_QUEUE, GPU_QUEUE}, offer)
        taken = claim(any_context, job, offer)
        assert (taken is not None) == (job in listed) == (offer in takers)
        if taken is None:
            assert (read_job(any_context, job).status, read_job(any_context, job).attempt) == ("queued", 0)
            change_job(any_context, job, status="cancelled")
        else:
            assert taken.gpus == (() if device == "cpu" or not offer.gpus else (GPUS[0].id,))
            claims.fail(any_context, taken, CRASH)


def test_a_worker_without_gpus_does_not_take_over_a_lost_training_that_asks_for_one(
    context: AppContext,
) -> None:
    lost = claimed(context, ONE, device="gpu")
    expire(context, lost.job_id)
    assert claim(context, lost.job_id, ONLY_CPU, "b") is None
    taken = claim(context, lost.job_id, ONE, "c")
    assert taken is not None
    assert taken.gpus == lost.gpus


def test_other_work_gets_no_gpu(context: AppContext) -> None:
    assert claimed(context, TWO, kind="export").gpus == ()
    assert claims.list_waiting(context, {TASK_QUEUE}, NOTHING) == []
    export = add_job(context, kind="export")
    assert claims.list_waiting(context, {TASK_QUEUE}, NOTHING) == [export]


@pytest.mark.parametrize("count", [1, 2])
def test_of_many_claims_at_once_each_gpu_goes_to_one(any_context: AppContext, count: int) -> None:
    offer = Offer(GPUS[:count])
    for _ in range(5):
        waiting = [add_job(any_context, device="gpu") for _ in range(6)]
        barrier = threading.Barrier(6)

        def compete(job: str, barrier: threading.Barrier = barrier) -> Claim | None:
            barrier.wait()
            return claim(any_context, job, offer)

        with ThreadPoolExecutor(6) as pool:
            won = [taken for taken in pool.map(compete, waiting) if taken is not None]
        assert sorted(gpu for taken in won for gpu in taken.gpus) == [gpu.id for gpu in GPUS[:count]]
        for job in set(waiting) - {taken.job_id for taken in won}:
            row = read_job(any_context, job)
            # No attempt spent, nothing said: it has not run.
            assert (row.status, row.attempt, row.fence, len(events(any_context, job))) == ("queued", 0, 0, 1)
        for taken in won:
            claims.fail(any_context, taken, CRASH)


@pytest.mark.parametrize("end", ["finish", "release", "crash", "cancel", "lost", "expired"])
def test_a_lease_ends_with_the_claim_however_that_ends(any_context: AppContext, end: str) -> None:
    first = claimed(any_context, ONE, device="gpu")
    second = add_job(any_context, device="gpu")
    with pytest.raises(NoFreeGpuError):
        claims.claim(any_context, second, "b", ONE)
    match end:
        case "finish":
            change_job(any_context, first.job_id, status="succeeded")
        case "release":
            claims.release(any_context, first)
        case "crash":
            claims.retry_or_fail(any_context, first, CRASH)
        case "cancel":
            job_lifecycle.cancel_job(any_context, first.job_id)
            assert claim(any_context, second, ONE) is None  # until its child is gone
            claims.cancelled(any_context, first)
        case "lost":
            reaper.reclaim_lost_jobs(any_context, is_gone=lambda owner: owner == "a", trust_expiry=False)
        case "expired":
            expire(any_context, first.job_id)
            assert claim(any_context, second, ONE) is None
            reaper.reclaim_lost_jobs(any_context, is_gone=lambda _: False, trust_expiry=True)
    taken = claim(any_context, second, ONE, "b")
    assert taken is not None
    assert taken.gpus == first.gpus
    with pytest.raises(ClaimLostError):
        progress.report(any_context, first, [])


def test_a_training_on_several_gpus_needs_them_all_at_once_from_one_worker(any_context: AppContext) -> None:
    single = claimed(any_context, TWO, device="gpu")
    double = add_job(any_context, device="gpu", gpus=2)
    assert claims.list_waiting(any_context, {GPU_QUEUE}, ONE) == []
    assert claims.claim(any_context, double, "b", ONE) is None
    with pytest.raises(NoFreeGpuError):
        claims.claim(any_context, double, "b", TWO)
    claims.fail(any_context, single, CRASH)
    taken = claim(any_context, double, TWO, "b")
    assert taken is not None
    assert set(taken.gpus) == {gpu.id for gpu in GPUS[:2]}


def test_an_older_training_that_waits_for_several_gpus_is_not_overtaken_for_ever(context: AppContext) -> None:
    three, first = Offer(GPUS[:3]), claimed(context, TWO, device="auto")
    double = add_job(context, device="gpu", gpus=2)
    younger = add_job(context, device="auto")
    assert claim(context, younger, TWO) is None
    # Here one is left over beside the two that are kept free.
    claims.fail(context, first, CRASH)
    assert claim(context, younger, TWO) is None
    assert claim(context, younger, three) is not None
    assert claim(context, double, three) is not None


def test_a_waiting_job_says_what_it_lacks(any_context: AppContext) -> None:
    one, two = (add_job(any_context, device="gpu", gpus=count) for count in (1, 2))
    assert "none is running" in (hint(any_context, one) or "")
    register(any_context, GPUS[:1])
    assert hint(any_context, one) is None
    assert "the most that one running has is 1" in (hint(any_context, two) or "")
    taken = claim(any_context, one, ONE)
    assert hint(any_context, one) is None
    assert taken is not None
    assert "in use" in (hint(any_context, add_job(any_context, device="gpu")) or "")
    register(any_context, GPUS[:2])
    assert hint(any_context, two) == "2 free GPUs of one worker."
    claims.fail(any_context, taken, CRASH)
    assert hint(any_context, two) is None
    with any_context.db.write() as session:
        long_ago = (session.scalar(select(db_now())) or 0) - LIVING_SECONDS - 1
        session.execute(update(Worker).values(beat_at=long_ago))
    assert "none is running" in (hint(any_context, two) or "")
    for other in (
        add_job(any_context),
        add_job(any_context, device="cpu"),
        add_job(any_context, kind="export"),
    ):
        assert str(hint(any_context, other)).startswith("A worker: none is running")


class LeaseMachine(RuleBasedStateMachine):
    """Trainings, two workers that share GPUs, and the reaper, in any order."""

    waiting = Bundle("waiting")

    context: AppContext
    """Given by the test to a class of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.live: dict[str, Claim] = {}

    @rule(target=waiting, device=st.sampled_from(["auto", "gpu"]), count=st.integers(1, 3))
    def submit(self, device: str, count: int) -> str:
        return add_job(self.context, device="gpu" if count > 1 else device, gpus=count)

    @rule(job=waiting, offer=st.sampled_from([Offer(GPUS[:3]), Offer(GPUS[1:]), Offer(GPUS[:1])]))
    def take(self, job: str, offer: Offer) -> None:
        taken = claim(self.context, job, offer)
        if taken is not None:
            assert len(taken.gpus) == read_job(self.context, job).gpus
            assert set(taken.gpus) <= {gpu.id for gpu in offer.gpus}
            self.live[job] = taken
        held = [gpu for claim in self.live.values() for gpu in claim.gpus]
        assert len(held) == len(set(held))

    @rule(job=waiting, end=st.sampled_from(["release", "crash", "lose"]))
    def end(self, job: str, end: str) -> None:
        if (taken := self.live.pop(job, None)) is None:
            return
        if end == "release":
            claims.release(self.context, taken)
        elif end == "crash":
            claims.retry_or_fail(self.context, taken, CRASH)
        else:
            change_job(self.context, job, lease_owner="gone")
            reaper.reclaim_lost_jobs(self.context, is_gone=lambda owner: owner == "gone", trust_expiry=False)

    def teardown(self) -> None:
        for taken in self.live.values():
            claims.fail(self.context, taken, CRASH)
        with self.context.db.write() as session:
            session.execute(update(Job).values(status="cancelled"))


def test_whatever_happens_no_two_trainings_have_one_gpu(context: AppContext) -> None:
    run_state_machine_as_test(
        type("Machine", (LeaseMachine,), {"context": context}),
        settings=settings(
            max_examples=15,
            stateful_step_count=25,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
