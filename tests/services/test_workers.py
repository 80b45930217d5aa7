"""Workers as an operator sees them: registered, beating, lost, gone."""

from __future__ import annotations

from sqlalchemy import select, update

from app import __version__
from app.models import Worker
from app.models.base import db_now
from app.runtime import Runtime
from app.services import job_runs, workers
from app.services.workers import FORGET_SECONDS, Registration
from tests.services.rows import add_job

DEVICES = {"cpu_cores": 2, "memory_bytes": 2**34, "gpus": []}


def new_worker(owner: str = "me", queue: str = "training") -> Registration:
    return Registration.new(owner=owner, host="here", pid=7, queue=queue, concurrency=1, devices=DEVICES)


def last_beat(runtime: Runtime, worker: Registration, seconds_ago: float) -> None:
    with runtime.db.write() as session:
        then = (session.scalar(select(db_now())) or 0.0) - seconds_ago
        session.execute(update(Worker).where(Worker.id == worker.id).values(beat_at=then))


def seen(runtime: Runtime) -> dict[str, str]:
    page = workers.list_workers(runtime, limit=100, after=None)
    return {worker.id: worker.status for worker in page.data}


def test_a_worker_is_alive_until_it_has_not_beaten_for_a_lease(any_runtime: Runtime) -> None:
    worker, lease = new_worker(), any_runtime.settings.lease_seconds
    workers.beat(any_runtime, worker)
    assert seen(any_runtime) == {worker.id: "alive"}
    last_beat(any_runtime, worker, lease + 5)
    assert seen(any_runtime) == {worker.id: "lost"}
    workers.beat(any_runtime, worker)
    assert seen(any_runtime) == {worker.id: "alive"}


def test_it_goes_when_it_ends_or_a_day_after_it_was_lost(any_runtime: Runtime) -> None:
    ended, lost, forgotten, living = (new_worker(owner) for owner in "abcd")
    for worker in (ended, lost, forgotten):
        workers.beat(any_runtime, worker)
    workers.leave(any_runtime, ended.id)
    last_beat(any_runtime, lost, FORGET_SECONDS - 60)
    last_beat(any_runtime, forgotten, FORGET_SECONDS + 60)
    workers.beat(any_runtime, living)
    assert seen(any_runtime) == {lost.id: "lost", living.id: "alive"}


def test_it_is_shown_with_the_jobs_that_it_holds(any_runtime: Runtime) -> None:
    busy, idle = new_worker("busy"), new_worker("idle")
    for worker in (busy, idle):
        workers.beat(any_runtime, worker)
    job = add_job(any_runtime)
    assert job_runs.claim(any_runtime, job, "busy") is not None
    unregistered = add_job(any_runtime)
    assert job_runs.claim(any_runtime, unregistered, "a worker of an older version") is not None

    page = workers.list_workers(any_runtime, limit=100, after=None)
    assert {worker.id: [held.id for held in worker.jobs] for worker in page.data} == {
        busy.id: [job],
        idle.id: [],
    }
    assert page.data[0].version == __version__
    assert page.data[0].devices.model_dump() == DEVICES
