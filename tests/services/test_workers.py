"""Workers as an operator sees them: registered, beating, lost, gone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import null, select, update

from app import __version__
from app.context import AppContext
from app.errors import ConflictError
from app.jobs import claims
from app.models import Job, Worker
from app.models.base import db_now, new_id
from app.schemas.job import JobRetry
from app.schemas.job_kinds import KNOWN_TO_FIRST_RELEASE
from app.services import job_lifecycle, jobs, workers
from app.services.job_states import queue_job
from app.services.workers import FORGET_SECONDS, Registration
from tests.services.rows import add_job, change_job, read_job

DEVICES = {"cpu_cores": 2, "memory_bytes": 2**34, "gpus": []}


def new_worker(owner: str = "me", queue: str = "training") -> Registration:
    return Registration.new(owner=owner, host="here", pid=7, queue=queue, concurrency=1, devices=DEVICES)


def last_beat(context: AppContext, worker: Registration, seconds_ago: float) -> None:
    with context.db.write() as session:
        then = (session.scalar(select(db_now())) or 0.0) - seconds_ago
        session.execute(update(Worker).where(Worker.id == worker.id).values(beat_at=then))


def seen(context: AppContext) -> dict[str, str]:
    page = workers.list_workers(context, limit=100, after=None)
    return {worker.id: worker.status for worker in page.data}


def test_a_worker_is_alive_until_it_has_not_beaten_for_a_lease(any_context: AppContext) -> None:
    worker, lease = new_worker(), any_context.settings.lease_seconds
    workers.beat(any_context, worker)
    assert seen(any_context) == {worker.id: "alive"}
    last_beat(any_context, worker, lease + 5)
    assert seen(any_context) == {worker.id: "lost"}
    workers.beat(any_context, worker)
    assert seen(any_context) == {worker.id: "alive"}


def test_it_goes_when_it_ends_or_a_day_after_it_was_lost(any_context: AppContext) -> None:
    ended, lost, forgotten, living = (new_worker(owner) for owner in "abcd")
    for worker in (ended, lost, forgotten):
        workers.beat(any_context, worker)
    workers.leave(any_context, ended.id)
    last_beat(any_context, lost, FORGET_SECONDS - 60)
    last_beat(any_context, forgotten, FORGET_SECONDS + 60)
    workers.beat(any_context, living)
    assert seen(any_context) == {lost.id: "lost", living.id: "alive"}


def test_it_is_shown_with_the_jobs_that_it_holds(any_context: AppContext) -> None:
    busy, idle = new_worker("busy"), new_worker("idle")
    for worker in (busy, idle):
        workers.beat(any_context, worker)
    job = add_job(any_context)
    assert claims.claim(any_context, job, "busy") is not None
    unregistered = add_job(any_context)
    assert claims.claim(any_context, unregistered, "a worker of an older version") is not None

    page = workers.list_workers(any_context, limit=100, after=None)
    assert {worker.id: [held.id for held in worker.jobs] for worker in page.data} == {
        busy.id: [job],
        idle.id: [],
    }
    assert page.data[0].version == __version__
    assert page.data[0].devices.model_dump() == DEVICES


def test_a_kind_that_a_living_worker_does_not_know_is_refused(any_context: AppContext) -> None:
    older = replace(new_worker(), kinds=["import"])
    workers.beat(any_context, older)
    with pytest.raises(ConflictError, match="does not know trainings"), any_context.db.read() as session:
        workers.require_workers_for(session, Job(kind="training"))
    with any_context.db.read() as session:
        workers.require_workers_for(session, Job(kind="import"))
    workers.leave(any_context, older.id)
    with any_context.db.read() as session:
        workers.require_workers_for(session, Job(kind="training"))


def test_a_worker_of_the_first_release_is_known_by_what_it_does_not_register(any_context: AppContext) -> None:
    workers.beat(any_context, new_worker(queue="tasks"))
    with any_context.db.write() as session:
        assert not workers.has_first_release_worker(session, ["tasks"])
        session.execute(update(Worker).values(kinds=null()))
        assert workers.has_first_release_worker(session, ["tasks"])
        assert not workers.has_first_release_worker(session, ["training"])
        for kind in KNOWN_TO_FIRST_RELEASE:
            workers.require_workers_for(session, Job(kind=kind))
        session.execute(update(Worker).values(beat_at=0))
        assert not workers.has_first_release_worker(session, ["tasks"])


@pytest.mark.parametrize(
    ("job", "queue", "is_taken"),
    [
        ({"device": "auto"}, "training", True),
        ({"device": "auto"}, "gpu", True),
        ({"device": "auto"}, "cpu", False),
        ({"device": "auto"}, "tasks", False),
        ({"device": "cpu"}, "cpu", True),
        ({"device": "cpu"}, "gpu", False),
        ({"kind": "import"}, "tasks", True),
        ({"kind": "import"}, "training", False),
    ],
)
def test_a_queued_job_says_that_no_worker_takes_it(
    any_context: AppContext, job: dict[str, str], queue: str, is_taken: bool
) -> None:
    queued = add_job(any_context, **job)
    assert "none is running" in str(jobs.get_job(any_context, queued).waits_for)
    workers.beat(any_context, new_worker(queue=queue))
    said = jobs.get_job(any_context, queued).waits_for
    assert said is None if is_taken else "none that takes this job" in str(said)


MAPPED: dict[str, Any] = {"class_map": {"keep": None, "drop": ["unclear"], "merge": {}}}


def _create(context: AppContext, _: str) -> None:
    with context.db.write() as session:
        queue_job(session, Job(id=new_id("job"), kind="training", payload=MAPPED))


@pytest.mark.parametrize(
    ("verb", "status"),
    [
        (_create, "paused"),
        (job_lifecycle.resume_job, "paused"),
        (job_lifecycle.stop_job, "paused"),
        (lambda context, job: job_lifecycle.retry_job(context, job, JobRetry()), "failed"),
    ],
    ids=["create", "resume", "stop", "retry"],
)
def test_what_a_worker_of_the_first_release_would_ignore_is_not_queued_beside_it(
    any_context: AppContext, verb: Callable[[AppContext, str], object], status: str
) -> None:
    job = add_job(any_context, payload=MAPPED)
    workers.beat(any_context, new_worker(queue="training"))
    with any_context.db.write() as session:
        session.execute(update(Worker).values(kinds=null()))
    change_job(any_context, job, status=status, attempt=1, progress={"step": 1}, best={"epoch": 1})
    with pytest.raises(ConflictError, match="does not know class_map"):
        verb(any_context, job)
    assert read_job(any_context, job).status == status
