"""Sweeps: many networks on one split, one becomes a model. Their jobs are worked on without a child"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import delete, select

from app.config import Settings
from app.context import AppContext
from app.jobs import claims
from app.jobs.reaper import move_sweeps_on
from app.models import Dataset, Job, Sweep
from app.models.base import utc_now
from tests.api.keys import FIRST, make_headers
from tests.api.opened import opened
from tests.api.test_problems import assert_problem
from tests.running import import_pictures
from tests.services.rows import change_job, events, read_job
from tests.services.sweep_runs import fail, models_of, queued, report_epochs, take, work_all, work_on

SETTINGS = {"epochs": 8, "batch_size": 8, "image_size": 32, "augmentation": "none"}
NETWORKS = ["tiny_cnn", "squeezenet1_1", "shufflenet_v2_x0_5", "mobilenet_v3_small"]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The API with one imported dataset of the product ``p``."""
    settings = Settings(home=tmp_path_factory.mktemp("sweeps"), api_key="s3cret", _env_file=None)
    with opened(settings) as client:
        client.headers.update(FIRST)
        import_pictures(client, context_of(client), "p")
        yield client


@pytest.fixture
def context(client: TestClient) -> Iterator[AppContext]:
    """Empty of jobs at the end, so that the next test works on its own alone."""
    context = context_of(client)
    yield context
    for sweep in client.get("/sweeps?status=running").json()["data"]:
        client.post(f"/sweeps/{sweep['id']}/cancel")
    assert queued(context) == []


def context_of(client: TestClient) -> AppContext:
    context: AppContext = client.app.state.context  # type: ignore[attr-defined]
    return context


def start(client: TestClient, networks: Any = NETWORKS, **fields: Any) -> dict[str, Any]:
    settings = {**SETTINGS, **fields.pop("hyperparameters", {})}
    body = {"product": "p", "networks": networks, "hyperparameters": settings, **fields}
    answer = client.post("/sweeps", json={name: value for name, value in body.items() if value is not None})
    assert answer.status_code == 201, answer.text
    sweep: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/sweeps/{sweep['id']}"
    return sweep


def read(client: TestClient, sweep: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/sweeps/{sweep['id']}").json()
    return found


def jobs_of(sweep: dict[str, Any]) -> dict[str, str]:
    """The jobs by network."""
    return {one["network"]: one["job"] for one in sweep["candidates"]}


def by_network(sweep: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["network"]: one for one in sweep["candidates"]}


def accuracies_of(sweep: dict[str, Any], *values: float) -> dict[str, float]:
    jobs = jobs_of(sweep)
    return {jobs[name]: value for name, value in zip(NETWORKS, values, strict=False)}


def test_the_better_half_goes_on_until_one_is_left_and_becomes_the_only_model(
    client: TestClient, context: AppContext, tmp_path: Path
) -> None:
    sweep = start(client)
    assert (sweep["status"], sweep["cuts"], len(queued(context))) == ("running", 2, 1)
    assert {tuple(one["rungs"]) for one in sweep["candidates"]} == {(2, 4, 8)}
    splits = [context.storage.job_split(one["job"]).read_text() for one in sweep["candidates"]]
    assert len(set(splits)) == 1
    assert sweep["split"]["counts"] == {"train": 25, "valid": 5, "test": 6}

    order = work_all(context, tmp_path, accuracies_of(sweep, 0.6, 0.8, 0.7, 0.5))

    jobs = jobs_of(sweep)
    tiny, squeeze, shuffle, mobile = (jobs[name] for name in NETWORKS)
    assert [order.count(job) for job in (tiny, squeeze, shuffle, mobile)] == [1, 3, 2, 1]
    ended = read(client, sweep)
    assert (ended["status"], ended["winner"], ended["error"]) == ("succeeded", squeeze, None)
    assert models_of(context, ended) == [squeeze]
    assert [one["network"] for one in ended["candidates"]] == [NETWORKS[index] for index in (1, 2, 0, 3)]
    won, second, third, last = ended["candidates"]
    assert (won["standing"], won["epoch"], won["job_status"]) == ("won", 8, "succeeded")
    assert won["accuracy"]["low"] < won["accuracy"]["value"] < won["accuracy"]["high"]
    assert (second["standing"], second["epoch"], second["job_status"]) == ("lost", 4, "cancelled")
    assert third["reason"] == "place 3 of 4 after 2 epochs"
    assert (last["epoch"], last["model"], last["test_accuracy"]) == (2, None, None)
    assert [event["type"] for event in ended["events"]] == [
        "accepted", "cut", "winner", "candidate_won", "ended",
    ]  # fmt: skip
    assert read_job(context, tiny).stop_reason == "pruned"
    # So many epochs of the others were compared on the same images, which the promise of the model must know.
    assert read_job(context, squeeze).payload["tried_elsewhere"] == 8
    alias = client.get("/products/p/aliases").json()[0]
    assert alias["model"] == ended["model"] == won["model"]
    listed = client.get(f"/jobs?sweep={sweep['id']}").json()["data"]
    assert {job["id"] for job in listed} == set(jobs.values())
    assert {job["sweep"] for job in listed} == {sweep["id"]}


def test_all_become_models_if_that_is_asked_and_only_the_winner_may_become_champion(
    client: TestClient, context: AppContext, tmp_path: Path
) -> None:
    sweep = start(client, NETWORKS[:2], keep="all")
    work_all(context, tmp_path, accuracies_of(sweep, 0.9, 0.6))
    ended = read(client, sweep)
    assert ended["status"] == "succeeded"
    won, lost = ended["candidates"]
    assert (won["network"], won["standing"]) == ("tiny_cnn", "won")
    assert (lost["standing"], lost["epoch"]) == ("lost", 4)
    assert lost["model"] is not None
    job = client.get(f"/jobs/{lost['job']}").json()
    assert job["gate"]["passed"] is True
    assert job["gate"]["became_champion"] is False
    assert "lost its sweep" in job["gate"]["reasons"][0]
    champion = client.get("/products/p").json()["champion"]
    assert champion == won["model"]


def test_a_candidate_that_fails_leaves_the_others_going(
    client: TestClient, context: AppContext, tmp_path: Path
) -> None:
    sweep = start(client)
    tiny, squeeze = (jobs_of(sweep)[name] for name in NETWORKS[:2])
    fail(context, queued(context)[0], "Out of memory.")
    work_on(context, tmp_path, queued(context)[0], 0.9)
    work_all(context, tmp_path, accuracies_of(sweep, 0.6, 0.9, 0.7, 0.5))
    ended = read(client, sweep)
    found = by_network(ended)
    assert (found["tiny_cnn"]["standing"], found["tiny_cnn"]["reason"]) == ("failed", "Out of memory.")
    assert (ended["status"], ended["winner"]) == ("succeeded", squeeze)
    assert_problem(client.post(f"/jobs/{tiny}/retry"), 409)


def test_if_the_winner_fails_the_next_one_takes_its_place(
    client: TestClient, context: AppContext, tmp_path: Path
) -> None:
    sweep = start(client)
    accuracies = accuracies_of(sweep, 0.6, 0.8, 0.7, 0.5)
    best, second = (jobs_of(sweep)[name] for name in NETWORKS[1:3])

    def break_the_winner(job: str) -> None:
        if read(client, sweep)["winner"] == job == best:
            fail(context, job)

    work_all(context, tmp_path, accuracies, break_the_winner)
    ended = read(client, sweep)
    assert (ended["status"], ended["winner"]) == ("succeeded", second)
    assert models_of(context, ended) == [second]


def test_a_sweep_whose_trainings_all_fail_fails_with_the_first_reason(
    client: TestClient, context: AppContext
) -> None:
    sweep = start(client, NETWORKS[:2])
    while jobs := queued(context):
        fail(context, jobs[0], f"{read_job(context, jobs[0]).network} broke.")
    ended = read(client, sweep)
    assert ended["status"] == "failed"
    assert "2 trainings failed. The first: tiny_cnn broke." in ended["error"]["detail"]
    assert ended["model"] is None


def test_a_sweep_goes_on_after_its_worker_was_lost_between_two_moves(
    client: TestClient, context: AppContext, tmp_path: Path
) -> None:
    """The candidate rests, and nobody was left to move the sweep on: the reaper does."""
    sweep = start(client, NETWORKS[:2])
    first = queued(context)[0]
    claim = take(context, first)
    report_epochs(context, claim, 1, 4, 0.9)
    change_job(context, first, pause_requested=True)
    claims.release(context, claim)
    assert queued(context) == []
    move_sweeps_on(context)
    assert len(queued(context)) == 1
    work_all(context, tmp_path, accuracies_of(sweep, 0.9, 0.5))
    assert read(client, sweep)["status"] == "succeeded"


def test_cancel_ends_all_trainings_at_once_or_once_their_worker_sees_it(
    client: TestClient, context: AppContext, tmp_path: Path
) -> None:
    sweep = start(client)
    work_on(context, tmp_path, queued(context)[0], 0.5)
    running = take(context, queued(context)[0])
    answer = client.post(f"/sweeps/{sweep['id']}/cancel")
    assert answer.status_code == 202
    assert answer.json()["status"] == "running"
    assert client.post(f"/sweeps/{sweep['id']}/cancel").status_code == 200
    claims.cancelled(context, running)
    move_sweeps_on(context)
    ended = read(client, sweep)
    assert ended["status"] == "cancelled"
    assert {one["job_status"] for one in ended["candidates"]} == {"cancelled"}
    assert client.post(f"/sweeps/{sweep['id']}/cancel").status_code == 200


def test_a_sweep_that_succeeded_cannot_be_cancelled(
    client: TestClient, context: AppContext, tmp_path: Path
) -> None:
    sweep = start(client, ["tiny_cnn"])
    work_all(context, tmp_path, accuracies_of(sweep, 0.5))
    assert read(client, sweep)["status"] == "succeeded"
    assert_problem(client.post(f"/sweeps/{sweep['id']}/cancel"), 409)


def test_what_a_person_asks_of_a_candidate_is_left_to_the_sweep_but_a_cancel(
    client: TestClient, context: AppContext, tmp_path: Path
) -> None:
    sweep = start(client, NETWORKS[:3])
    tiny, squeeze, shuffle = (jobs_of(sweep)[name] for name in NETWORKS[:3])
    for verb in ("pause", "resume", "stop", "retry"):
        problem = assert_problem(client.post(f"/jobs/{tiny}/{verb}"), 409)
        assert sweep["id"] in problem["detail"]
    assert client.post(f"/jobs/{squeeze}/cancel").status_code == 202
    assert_problem(client.delete(f"/jobs/{squeeze}"), 409)
    work_all(context, tmp_path, accuracies_of(sweep, 0.6, 0.9, 0.7))
    ended = read(client, sweep)
    assert ended["winner"] == shuffle
    assert by_network(ended)["squeezenet1_1"]["reason"] == "its job was cancelled"
    assert client.delete(f"/jobs/{squeeze}").status_code == 204
    assert by_network(read(client, sweep))["squeezenet1_1"]["job_status"] is None


def test_a_sweep_whose_dataset_is_gone_ends_with_that_reason(client: TestClient, context: AppContext) -> None:
    sweep = start(client, NETWORKS[:2])
    dataset = sweep["dataset"]["id"]
    problem = assert_problem(client.delete(f"/datasets/{dataset}?force=true"), 409)
    assert f"/sweeps/{sweep['id']}" in str(problem)
    with context.db.write() as session:
        session.execute(delete(Job).where(Job.sweep_id == sweep["id"]))
        session.get_one(Sweep, sweep["id"]).dataset_id = "dst_gone"
    move_sweeps_on(context)
    ended = read(client, sweep)
    assert (ended["status"], ended["error"]["detail"]) == ("failed", "The dataset was deleted.")


def age(context: AppContext, sweep: dict[str, Any], seconds: float) -> None:
    """The first training started so long ago."""
    with context.db.write() as session:
        for job in session.scalars(
            select(Job).where(Job.sweep_id == sweep["id"], Job.started_at.is_not(None))
        ):
            job.started_at = utc_now() - timedelta(seconds=seconds)


def test_when_the_time_is_up_the_best_so_far_becomes_the_model(
    client: TestClient, context: AppContext, tmp_path: Path
) -> None:
    sweep = start(client, budget_seconds=1000)
    tiny, squeeze, shuffle = (jobs_of(sweep)[name] for name in NETWORKS[:3])
    for job, accuracy in ((tiny, 0.6), (squeeze, 0.8)):
        work_on(context, tmp_path, job, accuracy)
    running = take(context, shuffle)
    report_epochs(context, running, 1, 1, 0.7)
    age(context, sweep, 2000)
    move_sweeps_on(context)
    assert read_job(context, shuffle).pause_requested
    assert queued(context) == []
    claims.release(context, running)
    move_sweeps_on(context)
    assert queued(context) == [squeeze]
    assert read_job(context, squeeze).payload["ends_as"] == "budget_reached"
    work_all(context, tmp_path, {squeeze: 0.8})
    ended = read(client, sweep)
    assert (ended["status"], ended["winner"]) == ("succeeded", squeeze)
    assert by_network(ended)["squeezenet1_1"]["epoch"] == 2
    assert by_network(ended)["mobilenet_v3_small"]["standing"] == "lost"


def test_when_the_time_is_up_a_winner_that_still_trains_is_stopped(
    client: TestClient, context: AppContext, tmp_path: Path
) -> None:
    sweep = start(client, NETWORKS[:2], budget_seconds=1000)
    for _ in range(2):
        work_on(context, tmp_path, queued(context)[0], 0.5)
    winner = take(context, queued(context)[0])
    age(context, sweep, 2000)
    move_sweeps_on(context)
    move_sweeps_on(context)
    assert len(events(context, winner.job_id, "stop_requested")) == 1
    assert read_job(context, winner.job_id).stop_requested


def test_a_time_that_is_over_before_any_validation_is_said(client: TestClient, context: AppContext) -> None:
    sweep = start(client, NETWORKS[:2], budget_seconds=1000)
    claim = take(context, queued(context)[0])
    age(context, sweep, 2000)
    move_sweeps_on(context)
    claims.release(context, claim)
    move_sweeps_on(context)
    ended = read(client, sweep)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "budget_reached")


@pytest.mark.parametrize(
    ("fields", "status", "said"),
    [
        ({"networks": ["tiny_cnn", "resnet5O", "mobilnet"]}, 422, "Did you mean resnet50?"),
        ({"networks": None}, 422, "say which networks"),
        ({"networks": []}, 422, "networks"),
        ({"networks": ["tiny_cnn"], "budget_seconds": 20}, 422, "the cheapest, tiny_cnn, takes about"),
        ({"networks": None, "max_milliseconds": 0.001}, 422, "the least that would do is"),
        ({"networks": None, "max_bytes": 10}, 422, "the least that would do is"),
        ({"networks": ["tiny_cnn"], "grid": {"epoch": [1]}}, 422, "grid names no hyperparameter: epoch"),
        ({"networks": ["tiny_cnn"], "grid": {"epochs": [1]}}, 422, "both in grid and in hyperparameters"),
        ({"networks": ["tiny_cnn"], "grid": {"dropout": [0.1, 7]}}, 422, "/grid/dropout"),
        (
            {"networks": ["tiny_cnn"], "grid": {"seed": list(range(90)), "dropout": [0.1, 0.2]}},
            422,
            "180 trainings",
        ),
        ({"networks": ["tiny_cnn"], "budget_seconds": True}, 422, "must be a number"),
        ({"networks": ["tiny_cnn"], "dataset": "dst_none"}, 404, "dst_none"),
        ({"networks": ["tiny_cnn"], "product": "none"}, 404, "none"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_starts(
    client: TestClient, context: AppContext, fields: dict[str, Any], status: int, said: str
) -> None:
    body = {"product": "p", "hyperparameters": SETTINGS, **fields}
    problem = assert_problem(client.post("/sweeps", json=body), status)
    assert said in json.dumps(problem)
    assert queued(context) == []


def test_every_unknown_network_is_named(client: TestClient) -> None:
    body = {"product": "p", "networks": ["nosuch", "tiny_cnn", "other"]}
    problem = assert_problem(client.post("/sweeps", json=body), 422)
    assert [error["pointer"] for error in problem["errors"]] == ["/networks/0", "/networks/2"]


@pytest.mark.usefixtures("context")
def test_all_networks_are_those_that_fit_and_the_others_are_named_with_the_reason(client: TestClient) -> None:
    sweep = start(client, None, max_milliseconds=0.3)
    tried = {one["network"] for one in sweep["candidates"]}
    assert "tiny_cnn" in tried
    skipped = {one["network"]: one["reason"] for one in sweep["skipped"]}
    assert "takes" in skipped["resnet50"]
    assert tried.isdisjoint(skipped)
    assert len(tried) + len(skipped) == len(client.get("/networks").json())


@pytest.mark.usefixtures("context")
def test_a_budget_of_time_takes_as_many_networks_as_it_is_enough_for(client: TestClient) -> None:
    sweep = start(client, "all", budget_seconds=150)
    assert 1 < len(sweep["candidates"]) < 20
    assert sweep["estimated_seconds"] <= 150
    assert "does not fit the time" in {one["network"]: one["reason"] for one in sweep["skipped"]}["resnet152"]


def test_settings_are_tried_in_every_combination_on_one_split(
    client: TestClient, context: AppContext
) -> None:
    sweep = start(client, ["tiny_cnn"], grid={"learning_rate": [0.1, 0.01], "seed": [1, 2]})
    assert [one["settings"] for one in sweep["candidates"]] == [
        {"learning_rate": rate, "seed": seed} for rate in (0.1, 0.01) for seed in (1, 2)
    ]
    splits = [context.storage.job_split(one["job"]).read_text() for one in sweep["candidates"]]
    assert len(set(splits)) == 1


@pytest.mark.usefixtures("context")
def test_a_repeated_request_starts_nothing_twice(client: TestClient) -> None:
    body = {"product": "p", "networks": ["tiny_cnn"], "hyperparameters": SETTINGS}
    answers = [
        client.post("/sweeps", json=body, headers={"idempotency-key": "once"}).json() for _ in range(2)
    ]
    assert answers[0] == answers[1]


def test_a_sweep_never_has_more_jobs_queued_than_its_key_may(client: TestClient, context: AppContext) -> None:
    headers = make_headers(client, "write", limits={"concurrent_jobs": 1})
    body = {"product": "p", "networks": NETWORKS, "hyperparameters": SETTINGS}
    assert client.post("/sweeps", json=body, headers=headers).status_code == 201
    move_sweeps_on(context)
    assert len(queued(context)) == 1
    problem = assert_problem(client.post("/sweeps", json=body, headers=headers), 429)
    assert "1 jobs queued or running" in problem["detail"]


def test_deleting_a_product_takes_its_sweeps(client: TestClient, context: AppContext, tmp_path: Path) -> None:
    import_pictures(client, context, "gone")
    sweep = start(client, ["tiny_cnn"], product="gone")
    assert_problem(client.delete("/products/gone?force=true"), 409)
    work_all(context, tmp_path, accuracies_of(sweep, 0.5))
    assert "1 sweep" in assert_problem(client.delete("/products/gone"), 409)["detail"]
    assert client.delete("/products/gone?force=true").status_code in (200, 204)
    assert_problem(client.get(f"/sweeps/{sweep['id']}"), 404)
    with context.db.read() as session:
        assert session.scalar(select(Dataset.id).where(Dataset.product_id == "gone")) is None
