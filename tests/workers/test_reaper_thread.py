"""When the reaper believes that an expired lease means a lost worker, and when it waits."""

from __future__ import annotations

import os
import threading
import time

import pytest

from app.context import AppContext
from app.errors import UnavailableError
from app.host.processes import process_owner
from app.jobs import claims, garbage, reaper
from app.models import Sweep
from app.workers import reaper_thread
from app.workers.reaper_thread import ReaperThread
from tests.services.rows import add_job, expire, read_job
from tests.services.sweep_runs import add_sweep


@pytest.fixture
def expired(context: AppContext) -> str:
    """A job whose worker lives, as far as this machine can tell, and whose lease has run out."""
    job = add_job(context)
    assert claims.claim(context, job, process_owner()) is not None
    expire(context, job)
    return job


def seen_well(context: AppContext, seconds: float) -> ReaperThread:
    thread = ReaperThread(context, threading.Event())
    thread._seen_well_since = time.monotonic() - seconds
    return thread


def test_it_believes_leases_after_two_lease_periods(context: AppContext, expired: str) -> None:
    seen_well(context, 2 * context.settings.lease_seconds - 5)._round()
    assert read_job(context, expired).status == "running"
    seen_well(context, 2 * context.settings.lease_seconds + 5)._round()
    assert read_job(context, expired).status == "queued"


def test_after_the_machine_slept_the_living_get_time_to_beat(context: AppContext, expired: str) -> None:
    thread = seen_well(context, 10 * context.settings.lease_seconds)
    thread._last_round = time.time() - 3600
    thread._round()
    assert read_job(context, expired).status == "running"


def test_after_an_outage_of_the_database_too(
    context: AppContext, expired: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaper_thread, "ROUND_SECONDS", 0.05)
    rounds = threading.Semaphore(0)
    take = reaper.take_reaper_lease
    answers = iter([UnavailableError("away")])

    def take_after_outage(*arguments: object, **more: object) -> bool:
        rounds.release()
        if (error := next(answers, None)) is not None:
            raise error
        return take(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(reaper, "take_reaper_lease", take_after_outage)
    thread = seen_well(context, 10 * context.settings.lease_seconds)
    thread.start()
    for _ in range(4):
        assert rounds.acquire(timeout=30)
    thread._shutdown.set()
    thread.join()
    assert read_job(context, expired).status == "running"


def test_a_round_removes_what_a_killed_api_left_in_scratch(context: AppContext, expired: str) -> None:
    cut_off = context.storage.upload()
    cut_off.write_text("x")
    os.utime(cut_off, (time.time() - 2 * garbage.SCRATCH_SECONDS,) * 2)
    thread = seen_well(context, 0)
    thread._round()
    thread._removal.join()
    assert not cut_off.exists()
    assert read_job(context, expired).status == "running"


def test_a_round_ends_a_sweep_that_nobody_else_would(context: AppContext) -> None:
    sweep = add_sweep(context)
    seen_well(context, 0)._round()
    with context.db.read() as session:
        assert session.get_one(Sweep, sweep).status == "failed"
