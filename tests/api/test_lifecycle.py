"""Pausing, resuming, stopping, cancelling, retrying and deleting jobs."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from typing import Any, get_args

import pytest
from fastapi.testclient import TestClient

from app.context import AppContext
from app.host.processes import process_owner
from app.jobs import claims
from app.models import Job
from app.schemas.job import JobStatus
from app.services.job_states import TERMINAL, TRANSITIONS
from app.workers.supervisor import Supervisor
from tests.conftest import Trained
from tests.running import TINY, all_events, import_pictures, run_queued
from tests.waiting import wait_for


@pytest.fixture
def product(client: TestClient, context: AppContext) -> str:
    import_pictures(client, context, "p")
    return "p"


def submit(client: TestClient, **settings: Any) -> str:
    body = {"product": "p", "network": "tiny_cnn", "hyperparameters": {**TINY, **settings}}
    job: str = client.post("/jobs", json=body).raise_for_status().json()["id"]
    return job


def run_while(
    client: TestClient, context: AppContext, job: str, act: Callable[[], Any], after_step: int = 3
) -> Any:
    """Runs ``job`` and calls ``act`` once it has trained a few steps; returns what ``act`` returned."""
    claim = claims.claim(context, job, process_owner())
    assert claim is not None
    thread = threading.Thread(target=Supervisor(context, claim, threading.Event()).run)
    thread.start()
    wait_for(
        lambda: (client.get(f"/jobs/{job}").json()["progress"]["step"] or 0) >= after_step,
        120,
        f"step {after_step} of {job}",
        alive=thread.is_alive,
    )
    answer = act()
    thread.join(60)
    assert not thread.is_alive()
    return answer


def weights(client: TestClient, job: str) -> str:
    found: str = client.get(f"/models?job={job}").json()["data"][0]["weights_sha256"]
    return found


@pytest.mark.usefixtures("product")
def test_a_training_paused_and_resumed_ends_with_the_same_weights(
    client: TestClient, context: AppContext
) -> None:
    settings = {"epochs": 60, "augmentation": "light"}
    undisturbed, paused = submit(client, **settings), submit(client, **settings)
    claim = claims.claim(context, undisturbed, process_owner())
    assert claim is not None
    Supervisor(context, claim, threading.Event()).run()

    answer = run_while(client, context, paused, lambda: client.post(f"/jobs/{paused}/pause"))
    assert answer.status_code == 202
    resting = client.get(f"/jobs/{paused}").json()
    assert resting["status"] == "paused"
    assert resting["progress"]["step"] < resting["progress"]["steps"]
    assert client.post(f"/jobs/{paused}/pause").status_code == 200
    assert run_queued(context) == []

    assert client.post(f"/jobs/{paused}/resume").status_code == 202
    run_queued(context)
    ended = client.get(f"/jobs/{paused}").json()
    assert (ended["status"], ended["attempt"]) == ("succeeded", 2)
    assert weights(client, paused) == weights(client, undisturbed)
    steps = [client.get(f"/jobs/{job}/metrics").json()["steps"] for job in (undisturbed, paused)]
    for one, other in itertools.zip_longest(*steps):
        assert (one["step"], one["loss"]) == (other["step"], other["loss"])
    logs = [client.get(f"/jobs/{job}/logs/training_result.log").text for job in (undisturbed, paused)]
    assert len(logs[0].splitlines()) == len(logs[1].splitlines()) == 60


@pytest.mark.usefixtures("product")
def test_a_training_stopped_early_keeps_its_best_epoch(client: TestClient, context: AppContext) -> None:
    job = submit(client, epochs=500)
    run_while(client, context, job, lambda: client.post(f"/jobs/{job}/stop"), after_step=8)
    ended = client.get(f"/jobs/{job}").json()
    assert ended["status"] == "succeeded"
    assert ended["stop_reason"] == "stopped_by_user"
    assert ended["model"] is not None
    assert ended["best"]["epoch"] < 500


@pytest.mark.usefixtures("product")
def test_a_running_job_is_cancelled_and_leaves_nothing(client: TestClient, context: AppContext) -> None:
    job = submit(client, epochs=500)
    answer = run_while(client, context, job, lambda: client.post(f"/jobs/{job}/cancel"))
    assert answer.status_code == 202
    assert client.get(f"/jobs/{job}").json()["status"] == "cancelled"
    assert client.get(f"/models?job={job}").json()["data"] == []
    assert not context.storage.job_checkpoints(job).exists()
    assert run_queued(context) == []
    for verb in ("pause", "resume", "retry", "stop"):
        assert client.post(f"/jobs/{job}/{verb}").status_code == 409


@pytest.mark.usefixtures("product")
def test_a_failed_job_is_retried_from_its_checkpoint_or_from_the_beginning(
    client: TestClient, context: AppContext
) -> None:
    job = submit(client, epochs=60)
    run_while(client, context, job, lambda: client.post(f"/jobs/{job}/pause"), after_step=9)
    with context.db.write() as session:
        row = session.get_one(Job, job)
        row.status, row.error = "failed", {"code": "crashed", "title": "t", "detail": "d", "status": 500}
    assert client.post(f"/jobs/{job}/retry").status_code == 202
    run_queued(context)
    assert client.get(f"/jobs/{job}").json()["status"] == "succeeded"
    resumed = [event for event in all_events(client, job) if event["type"] == "resumed"]
    assert resumed[-1]["data"]["step"] >= 8

    again = submit(client, epochs=60)
    run_while(client, context, again, lambda: client.post(f"/jobs/{again}/pause"), after_step=9)
    with context.db.write() as session:
        session.get_one(Job, again).status = "failed"
    assert client.post(f"/jobs/{again}/retry", json={"start": "beginning"}).status_code == 202
    assert client.get(f"/jobs/{again}/metrics").json()["steps"] == []
    run_queued(context)
    assert weights(client, again) == weights(client, job)
    assert not [
        event for event in all_events(client, again) if event["type"] == "resumed" and event["data"]["step"]
    ]


@pytest.mark.usefixtures("product")
def test_a_job_is_deleted_with_its_files_unless_an_alias_needs_its_model(
    client: TestClient, context: AppContext
) -> None:
    first, second = submit(client), submit(client)
    assert client.delete(f"/jobs/{first}").status_code == 409
    run_queued(context)
    champion = client.get("/products/p").json()["champion"]
    jobs = {client.get(f"/jobs/{job}").json()["model"]: job for job in (first, second)}
    assert client.delete(f"/jobs/{jobs[champion]}").status_code == 409
    (other,) = set(jobs) - {champion}
    assert client.delete(f"/jobs/{jobs[other]}").status_code == 204
    assert client.get(f"/jobs/{jobs[other]}").status_code == 404
    assert client.get(f"/models/{other}").status_code == 404
    assert not (context.storage.models / other).exists()
    assert not context.storage.job(jobs[other]).exists()


VERBS = ("pause", "resume", "stop", "cancel", "retry")
LEGAL = {
    ("queued", "pause"), ("queued", "cancel"), ("queued", "resume"),
    ("running", "pause"), ("running", "cancel"), ("running", "stop"), ("running", "resume"),
    ("paused", "resume"), ("paused", "cancel"), ("paused", "stop"), ("paused", "pause"),
    ("failed", "retry"), ("cancelled", "cancel"),
}  # fmt: skip


def test_each_verb_is_legal_in_its_states_and_a_409_that_names_the_state_elsewhere(trained: Trained) -> None:
    client, context = trained.client, trained.context
    body = {"product": trained.product, "network": "tiny_cnn", "hyperparameters": TINY}
    for status, verb in itertools.product(TRANSITIONS, VERBS):
        job = client.post("/jobs", json=body).json()["id"]
        with context.db.write() as session:
            row = session.get_one(Job, job)
            row.status, row.attempt = status, int(status in ("running", "paused"))
        answer = client.post(f"/jobs/{job}/{verb}")
        if (status, verb) in LEGAL:
            assert answer.status_code in (200, 202), (status, verb)
        else:
            assert answer.status_code == 409, (status, verb)
            assert status in answer.json()["detail"]
            assert client.get(f"/jobs/{job}").json()["status"] == status
        with context.db.write() as session:
            session.get_one(Job, job).status = "cancelled"


def test_the_states_are_those_that_clients_see() -> None:
    assert set(TRANSITIONS) == set(get_args(JobStatus))
    assert {"succeeded", "failed", "cancelled"} == TERMINAL
