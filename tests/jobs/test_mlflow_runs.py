"""Trainings for MLflow: each end is sent once, no job waits for a server, no restart loses one."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from app.config import Settings
from app.context import AppContext
from app.jobs import mlflow_runs
from app.jobs.mlflow_runs import CLAIM_SECONDS, SCHEDULE_SECONDS, Claim, claim_due, describe, find_ended, send
from app.models import Job, JobEvent, MlflowRun
from tests.conftest import Trained
from tests.services.rows import add_job

ENDED = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def _settings(settings: Settings, host: str) -> Settings:
    return settings.model_copy(update={"mlflow_tracking_uri": f"http://{host}:5000"})


@pytest.fixture(autouse=True)
def _no_mlflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlflow_runs, "MODULE", "tests.jobs.tracker")


def _to(context: AppContext, host: str) -> AppContext:
    return replace(context, settings=_settings(context.settings, host))


def _add_ended(context: AppContext, status: str = "succeeded", **fields: Any) -> str:
    times = {"started_at": ENDED - timedelta(minutes=1), "finished_at": ENDED}
    return add_job(context, status=status, **{**times, **fields})


def _row(context: AppContext) -> MlflowRun:
    with context.db.read() as session:
        return session.scalars(select(MlflowRun)).one()


def _events(context: AppContext, job: str) -> list[dict[str, Any]]:
    events = select(JobEvent.data).where(JobEvent.job_id == job, JobEvent.type == "mlflow")
    with context.db.read() as session:
        return list(session.scalars(events.order_by(JobEvent.number)))


def _send_next(context: AppContext) -> None:
    find_ended(context)
    claim = claim_due(context)
    assert claim is not None
    send(context, claim, threading.Event())


def _let_pass(context: AppContext, seconds: float) -> None:
    with context.db.write() as session:
        session.execute(update(MlflowRun).values(next_attempt_at=MlflowRun.next_attempt_at - seconds))


def test_an_ended_training_is_sent_once_and_its_events_say_where_to(any_context: AppContext) -> None:
    context = _to(any_context, "tracker")
    job = _add_ended(context)
    add_job(context, status="running", started_at=ENDED)
    add_job(context, kind="evaluation", status="succeeded", started_at=ENDED, finished_at=ENDED)
    _add_ended(context, "cancelled", started_at=None)

    _send_next(context)
    find_ended(context)

    assert claim_due(context) is None
    assert (_row(context).job_id, _row(context).run_id) == (job, f"run of {job}")
    assert _events(context, job) == [{"status": "sent", "run": f"run of {job}", "experiment": "1"}]


def test_while_the_server_is_away_it_is_tried_again_and_the_job_says_so_once(any_context: AppContext) -> None:
    away = _to(any_context, "away")
    job = _add_ended(away, "failed", error={"code": "out_of_memory"})
    for attempt, seconds in enumerate((*SCHEDULE_SECONDS[:2], SCHEDULE_SECONDS[2]), start=1):
        _send_next(away)
        assert claim_due(away) is None, "not at once"
        assert _row(away).attempts == attempt
        _let_pass(away, 1.2 * seconds)

    [event] = _events(away, job)
    assert event == {"status": "waiting", "detail": "ConnectionError: nobody answers"}
    _send_next(_to(any_context, "tracker"))
    assert [event["status"] for event in _events(away, job)] == ["waiting", "sent"]
    with away.db.read() as session:
        assert session.get_one(Job, job).status == "failed", "as it was"


def test_it_is_never_given_up() -> None:
    waits = [mlflow_runs._wait_seconds(attempt) for attempt in (1, 8, 9, 1000)]

    assert 4 < waits[0] < 6
    assert all(86_400 * 0.8 < wait < 86_400 * 1.2 for wait in waits[1:])


def test_an_attempt_that_was_lost_is_made_again_and_cannot_overwrite_the_next(
    any_context: AppContext,
) -> None:
    context = _to(any_context, "tracker")
    job = _add_ended(context)
    find_ended(context)
    lost = claim_due(context)
    assert lost is not None
    assert claim_due(context) is None, "it is another worker's"
    _let_pass(context, CLAIM_SECONDS + 1)
    _send_next(context)

    mlflow_runs._settle(context, lost, mlflow_runs.Outcome(None, "It took too long."))

    assert (_row(context).run_id, _row(context).error) == (f"run of {job}", None)
    assert len(_events(context, job)) == 1


def test_a_job_that_was_retried_and_ends_again_is_another_run(any_context: AppContext) -> None:
    context = _to(any_context, "tracker")
    job = _add_ended(context, "failed")
    _send_next(context)
    with context.db.write() as session:
        session.execute(update(Job).values(status="queued", finished_at=None))
    find_ended(context)
    assert claim_due(context) is None
    with context.db.write() as session:
        session.execute(update(Job).values(status="succeeded", finished_at=ENDED + timedelta(hours=1)))

    _send_next(context)

    assert [event["status"] for event in _events(context, job)] == ["sent", "sent"]
    assert _row(context).attempts == 1


def test_what_was_deleted_or_runs_again_is_not_sent(any_context: AppContext) -> None:
    context = _to(any_context, "tracker")
    _add_ended(context)
    find_ended(context)
    with context.db.write() as session:
        session.execute(update(Job).values(status="queued", finished_at=None))
    claim = claim_due(context)
    assert claim is not None

    send(context, claim, threading.Event())

    with context.db.read() as session:
        assert session.scalars(select(MlflowRun)).all() == []


def test_a_shutdown_does_not_wait_for_a_server_that_hangs(context: AppContext) -> None:
    hanging = _to(context, "hangs")
    job = _add_ended(hanging)
    find_ended(hanging)
    claim = claim_due(hanging)
    assert claim is not None
    shutdown = threading.Event()
    threading.Timer(0.5, shutdown.set).start()

    began = time.monotonic()
    send(hanging, claim, shutdown)

    assert time.monotonic() - began < 60
    assert _events(hanging, job) == [], "nothing came of it: it is due again later"
    assert _row(hanging).next_attempt_at is not None


def test_a_run_has_settings_curves_the_test_and_the_model(trained: Trained) -> None:
    context = _to(trained.context, "tracker")
    with context.db.read() as session:
        job = session.get_one(Job, trained.job)
        assert job.finished_at is not None
        assert job.started_at is not None
    metrics = trained.client.get(f"/jobs/{trained.job}/metrics").json()
    [model] = trained.client.get("/models", params={"job": trained.job}).json()["data"]

    spec = describe(context, Claim(job.id, job.finished_at, 1))

    assert spec is not None
    assert (spec.experiment, spec.name, spec.status) == (f"loupe/{trained.product}", job.id, "FINISHED")
    assert (spec.params["network"], spec.params["epochs"]) == ("tiny_cnn", "2")
    assert (spec.tags["loupe.model"], spec.tags["loupe.model_digest"]) == (model["id"], model["digest"])
    assert spec.model is not None
    assert (spec.model / "manifest.json").is_file()
    found = {(point.key, point.step): point for point in spec.points}
    assert len(found) == len(spec.points)
    for epoch in metrics["epochs"]:
        assert found["valid_accuracy", epoch["epoch"]].value == epoch["valid_accuracy"]
    assert [found["step_loss", step["step"]].value for step in metrics["steps"]] == [
        step["loss"] for step in metrics["steps"]
    ]
    assert found["test_accuracy", 2].value == metrics["test"]["accuracy"]["value"]
    assert found["test_accuracy_low", 2].value == metrics["test"]["accuracy"]["low"]
    assert all(spec.started_ms <= point.at_ms <= spec.ended_ms for point in spec.points)
