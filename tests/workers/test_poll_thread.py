"""A worker that idles while jobs wait needs no message to start them."""

from __future__ import annotations

import threading
import time

import pytest

from app.context import AppContext
from app.job_queue import TASK_QUEUE
from app.workers import poll_thread
from app.workers.poll_thread import PollThread
from app.workers.runner import JobRunner
from tests.services.rows import add_job, read_job
from tests.waiting import wait_for

EXPORT = {"job": None, "format": "folders", "image_size": None, "compression": None}


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll_thread, "ROUND_SECONDS", 0.05)
    monkeypatch.setattr(poll_thread, "PATIENCE_SECONDS", 0.2)


def test_it_takes_the_waiting_jobs_of_its_queue_from_the_database(context: AppContext) -> None:
    shutdown = threading.Event()
    runner = JobRunner(context, shutdown, slots=2)
    training = add_job(context)
    exports = [add_job(context, kind="export", payload=EXPORT) for _ in range(3)]
    thread = PollThread(runner, {TASK_QUEUE})
    thread.start()
    # Their datasets have no files: what matters is that each was run, once.
    wait_for(
        lambda: all(read_job(context, job).status in ("failed", "succeeded") for job in exports),
        60,
        "the end of the exports",
    )
    shutdown.set()
    thread.join()
    assert [read_job(context, job).fence for job in exports] == [1, 1, 1]
    assert read_job(context, training).fence == 0


def test_it_leaves_waiting_jobs_alone_while_all_slots_are_taken(context: AppContext) -> None:
    runner = JobRunner(context, threading.Event(), slots=1)
    job = add_job(context, kind="export", payload=EXPORT)
    assert runner._slots.acquire(blocking=False)
    thread = PollThread(runner, {TASK_QUEUE})
    thread.start()
    time.sleep(0.6)
    runner.shutdown.set()
    thread.join()
    assert not runner.run_if_free(job)
    assert read_job(context, job).fence == 0
