"""Whatever happens to jobs in whatever order: none is lost, doubled or brought back to life."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import func, select

from app import migrations
from app.config import Settings
from app.context import AppContext
from app.errors import ConflictError, CrashedError
from app.jobs import claims, progress, reaper
from app.jobs.claims import Claim, ClaimLostError
from app.models import Job, TrainedModel
from app.schemas.job import JobRetry
from app.schemas.progress_lines import AnyLine
from app.services import job_lifecycle
from app.services.job_states import TERMINAL
from tests.services import rows
from tests.services.message_queue import MessageQueue

CRASH = CrashedError("segfault").as_dict()


@dataclass
class Worker:
    """A claim and the process that made it."""

    claim: Claim
    owner: str
    steps: int = 0


@dataclass
class Seen:
    """What a job has been seen as so far."""

    fence: int = 0
    end: str | None = None
    workers: list[Worker] = field(default_factory=list)


class JobMachine(RuleBasedStateMachine):
    """Clients, workers, the reaper and Redis, each doing anything at any time."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="loupe-machine-"))
        opened = AppContext.open(Settings(home=self.home, dispatch_seconds=0.0001, _env_file=None))
        migrations.upgrade(opened.db)
        self.queue = MessageQueue()
        self.context = replace(opened, queue=self.queue)  # type: ignore[arg-type]
        self.seen: dict[str, Seen] = defaultdict(Seen)
        self.dead: set[str] = set()
        self.owners = 0

    # --- Clients -------------------------------------------------------------------------------------------

    @rule(target=jobs)
    def submit(self) -> str:
        job = rows.add_job(self.context)
        self.seen[job] = Seen()
        self.queue.enqueue(job, "training")
        return job

    @rule(job=jobs, verb=st.sampled_from(["cancel_job", "pause_job", "resume_job", "stop_job"]))
    def ask(self, job: str, verb: str) -> None:
        with contextlib.suppress(ConflictError):
            getattr(job_lifecycle, verb)(self.context, job)

    @rule(job=jobs, start=st.sampled_from(["checkpoint", "beginning"]))
    def retry(self, job: str, start: Any) -> None:
        try:
            job_lifecycle.retry_job(self.context, job, JobRetry(start=start))
        except ConflictError:
            return
        assert self.seen[job].end == "failed"
        self.seen[job].end = None

    # --- Redis ---------------------------------------------------------------------------------------------

    @rule()
    def flush(self) -> None:
        self.queue.flush()

    @rule(is_away=st.booleans())
    def disconnect(self, is_away: bool) -> None:
        self.queue.is_away = is_away

    @rule(job=jobs, times=st.integers(1, 10))
    def announce_again(self, job: str, times: int) -> None:
        for _ in range(times):
            self.queue.enqueue(job, "training")

    # --- Workers -------------------------------------------------------------------------------------------

    @rule()
    def deliver(self) -> None:
        if self.queue.messages["training"]:
            self._claim(self.queue.messages["training"].pop(0))

    @rule(job=jobs)
    def take_from_database(self, job: str) -> None:
        self._claim(job)

    def _claim(self, job: str) -> None:
        self.owners += 1
        owner = f"worker-{self.owners}"
        claim = claims.claim(self.context, job, owner)
        if claim is not None:
            assert claim.fence == self.seen[job].fence + 1
            self.seen[job].fence = claim.fence
            self.seen[job].workers.append(Worker(claim, owner))

    @rule(job=jobs, which=st.sampled_from([0, 0, 1, 1, 2]), saves=st.booleans())
    def beat(self, job: str, which: int, saves: bool) -> None:
        worker = self._worker(job, which)
        if worker is None:
            return
        worker.steps += 1
        lines: list[AnyLine] = [rows.plan(0)] if worker.steps == 1 else []
        lines.append(rows.step(worker.steps))
        if saves:
            lines.append(rows.checkpoint(worker.steps))
        self._act(worker, lambda: progress.report(self.context, worker.claim, lines))

    @rule(
        job=jobs,
        which=st.sampled_from([0, 1, 1, 2]),
        end=st.sampled_from(["finish", "crash", "killed", "fail", "release", "cancelled"]),
    )
    def end(self, job: str, which: int, end: str) -> None:
        worker = self._worker(job, which)
        if worker is None:
            return
        if end == "cancelled" and not rows.read_job(self.context, job).cancel_requested:
            return
        self._act(worker, lambda: self._end(worker, end))

    def _end(self, worker: Worker, end: str) -> None:
        claim = worker.claim
        match end:
            case "finish":
                result = rows.leave_result(self.context.storage.attempt(claim.job_id, claim.fence))
                rows.finish(self.context, claim, result)
            case "crash":
                claims.retry_or_fail(self.context, claim, CRASH)
            case "killed":
                claims.retry_or_fail(self.context, claim, CRASH, is_from_outside=True)
            case "fail":
                claims.fail(self.context, claim, CRASH)
            case "release":
                claims.release(self.context, claim)
            case "cancelled":
                claims.cancelled(self.context, claim)
        job_lifecycle.clean_up(self.context, claim.job_id)

    def _worker(self, job: str, which: int) -> Worker | None:
        """One of the workers that ever had the job and still live, stale ones included; 0 is the latest."""
        alive = [worker for worker in self.seen[job].workers if worker.owner not in self.dead]
        return alive[-1 - which] if which < len(alive) else None

    def _act(self, worker: Worker, act: Any) -> None:
        """The worker that has the job may act, and any other one must be refused and change nothing."""
        row = rows.read_job(self.context, worker.claim.job_id)
        is_holder = row.status == "running" and row.fence == worker.claim.fence
        before = None if is_holder else rows.dump(self.context)
        try:
            act()
            assert is_holder
        except ClaimLostError:
            assert not is_holder
            assert rows.dump(self.context) == before

    # --- Time, death and the reaper ----------------------------------------------------------------------

    @rule(job=jobs)
    def expire(self, job: str) -> None:
        if rows.read_job(self.context, job).status == "running":
            rows.expire(self.context, job)

    @rule(job=jobs)
    def be_overtaken(self, job: str) -> None:
        """A worker is thought dead, another takes its job, and it lives on."""
        self._claim(job)
        self.expire(job)
        self._claim(job)

    @rule(job=jobs)
    def kill(self, job: str) -> None:
        if self.seen[job].workers:
            self.dead.add(self.seen[job].workers[-1].owner)

    @rule(trust_expiry=st.booleans())
    def reap(self, trust_expiry: bool) -> None:
        reaper.reclaim_lost_jobs(self.context, is_gone=self.dead.__contains__, trust_expiry=trust_expiry)
        reaper.announce_unclaimed_jobs(self.context)

    # --- What must always hold -----------------------------------------------------------------------------

    @invariant()
    def fences_only_grow_and_ends_are_final(self) -> None:
        with self.context.db.read() as session:
            jobs = session.scalars(select(Job)).all()
            models = dict(
                session.execute(select(TrainedModel.job_id, func.count()).group_by(TrainedModel.job_id)).all()
            )
        assert {job.id for job in jobs} == set(self.seen), "none is lost"
        for job in jobs:
            seen = self.seen[job.id]
            assert job.fence >= seen.fence
            seen.fence = job.fence
            if seen.end is not None:
                assert job.status == seen.end, "no end is taken back"
            seen.end = job.status if job.status in TERMINAL else None
            assert models.get(job.id, 0) == (job.status == "succeeded"), "one model a job that succeeded"
            assert (job.lease_until is not None) == (job.status == "running")

    @invariant()
    def one_worker_at_most_holds_a_job(self) -> None:
        for seen in self.seen.values():
            holders = 0
            for worker in seen.workers:
                try:
                    claims.poll(self.context, worker.claim)
                    holders += 1
                except ClaimLostError:
                    pass
            assert holders <= 1

    def teardown(self) -> None:
        """All that lives dies, Redis loses everything, and yet every job that may run ends."""
        try:
            self.queue.is_away = False
            self.queue.flush()
            self.dead = {worker.owner for seen in self.seen.values() for worker in seen.workers}
            for _ in range(3 * len(self.seen) + 2):
                self.reap(trust_expiry=False)
                self.deliver()
                for job, seen in self.seen.items():
                    row = rows.read_job(self.context, job)
                    if row.status == "running" and seen.workers[-1].owner not in self.dead:
                        end = (
                            "cancelled"
                            if row.cancel_requested
                            else "release"
                            if row.pause_requested
                            else "finish"
                        )
                        self._end(seen.workers[-1], end)
                self.fences_only_grow_and_ends_are_final()
            left = {rows.read_job(self.context, job).status for job in self.seen}
            assert left <= TERMINAL | {"paused"}, left
            for job in self.seen:
                rows.events(self.context, job)  # numbered without gaps
        finally:
            self.context.db.dispose()
            shutil.rmtree(self.home)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_no_history_loses_doubles_or_revives_a_job(request: pytest.FixtureRequest) -> None:
    histories = 10 * request.config.getoption("--chaos-n") or 50
    run_state_machine_as_test(
        JobMachine,
        settings=settings(
            max_examples=histories,
            stateful_step_count=40,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
