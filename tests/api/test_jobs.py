"""``/jobs`` and what a training leaves: metrics, events, logs, the evaluation, the model."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from sqlalchemy import null, update

from app.context import AppContext
from app.jobs import kept_models
from app.models import Worker
from app.schemas.hyperparameters import Hyperparameters
from app.services import jobs, workers
from app.services.job_plan import decide
from tests.conftest import Trained
from tests.pictures import make_picture
from tests.running import TINY, import_pictures, run_queued, upload_pictures
from tests.services.test_workers import new_worker

PICTURE = make_picture("red", 999)


def test_a_training_ends_with_a_model_that_measures_what_was_reported(trained: Trained) -> None:
    job = trained.client.get(f"/jobs/{trained.job}").json()
    assert job["status"] == "succeeded"
    assert job["stop_reason"] == "completed"
    assert job["gate"] == {"passed": True, "became_champion": True, "reasons": [], "comparison": None}
    assert job["progress"]["fraction"] == 1.0
    assert job["split"]["counts"] == {"train": 25, "valid": 5, "test": 6}
    assert set(job["hyperparameters"]) == set(Hyperparameters.model_fields)
    assert job["hyperparameters"]["dropout"] is not None
    model = trained.client.get(f"/models/{job['model']}").json()
    assert model["aliases"] == ["champion"]
    assert model["labels"] == ["blue", "green", "red"]
    evaluation = trained.client.get(f"/jobs/{trained.job}/evaluation").json()
    assert model["metrics"] == evaluation["metrics"]
    assert evaluation["items"] == 6
    assert sum(map(sum, evaluation["confusion_matrix"]["counts"])) == 6


def test_what_is_served_is_what_was_measured(trained: Trained) -> None:
    """The promise: predicting each test image over HTTP gives the probabilities of the evaluation."""
    client = trained.client
    predictions = client.get(f"/jobs/{trained.job}/evaluation/predictions")
    rows = list(csv.DictReader(io.StringIO(predictions.text)))
    items = {
        item["id"]: item
        for item in client.get(f"/datasets/{trained.dataset}/items?job={trained.job}&limit=100").json()[
            "data"
        ]
    }
    assert {row["item"] for row in rows} == {key for key, item in items.items() if item["split"] == "test"}
    for row in rows:
        picture = client.get(f"/datasets/{trained.dataset}/items/{row['item']}/image").content
        answer = client.post("/predict", files={"file": ("p.png", picture)}, data={"product": "squares"})
        served = {entry["label"]: entry["probability"] for entry in answer.json()["predictions"]}
        measured = {label: float(np.float32(row[label])) for label in ("blue", "green", "red")}
        assert served == measured, "the same 32-bit number for every class"


def test_metrics_hold_every_step_and_epoch_once(trained: Trained) -> None:
    metrics = trained.client.get(f"/jobs/{trained.job}/metrics").json()
    assert [point["step"] for point in metrics["steps"]] == list(range(1, 9))
    assert [point["epoch"] for point in metrics["epochs"]] == [1, 2]
    assert metrics["last_step"] == 8
    assert metrics["best"]["epoch"] in (1, 2)
    assert metrics["test"]["items"] == 6
    later = trained.client.get(f"/jobs/{trained.job}/metrics?since=6").json()
    assert [point["step"] for point in later["steps"]] == [7, 8]
    thin = trained.client.get(f"/jobs/{trained.job}/metrics?max_points=4").json()
    assert [point["step"] for point in thin["steps"]] == [2, 4, 6, 8]


def test_metrics_come_as_csv_too(trained: Trained) -> None:
    headers = {"accept": "text/csv"}
    epochs = trained.client.get(f"/jobs/{trained.job}/metrics", headers=headers)
    assert epochs.headers["content-type"].startswith("text/csv")
    assert len(list(csv.DictReader(io.StringIO(epochs.text)))) == 2
    steps = trained.client.get(f"/jobs/{trained.job}/metrics?series=steps", headers=headers).text
    assert len(list(csv.DictReader(io.StringIO(steps)))) == 8


def test_the_logs_have_the_names_and_a_line_an_epoch_and_a_step(trained: Trained) -> None:
    logs = {entry["name"] for entry in trained.client.get(f"/jobs/{trained.job}/logs").json()}
    assert logs == {"training_result.log", "training_result_step.log", "test_result.log"}
    for name, lines in (("training_result.log", 2), ("training_result_step.log", 8)):
        text = trained.client.get(f"/jobs/{trained.job}/logs/{name}").text
        assert len(text.splitlines()) == lines
    assert (
        len(trained.client.get(f"/jobs/{trained.job}/logs/training_result_step.log?tail=2").text.splitlines())
        == 2
    )
    assert "ccuracy" in trained.client.get(f"/jobs/{trained.job}/logs/test_result.log").text


def test_events_are_numbered_without_gaps_and_a_stream_resumes(trained: Trained) -> None:
    listed = trained.client.get(f"/jobs/{trained.job}/events").json()["data"]
    assert [event["number"] for event in listed] == list(range(1, len(listed) + 1))
    statuses = [event["data"]["status"] for event in listed if event["type"] == "status"]
    assert statuses == ["queued", "running", "succeeded"]
    headers = {"accept": "text/event-stream", "last-event-id": "3"}
    stream = trained.client.get(f"/jobs/{trained.job}/events", headers=headers).text
    numbers = [json.loads(line[6:])["number"] for line in stream.splitlines() if line.startswith("data: ")]
    assert numbers == list(range(4, len(listed) + 1))


def test_a_second_evaluation_agrees_with_the_first(trained: Trained) -> None:
    first = trained.client.get(f"/jobs/{trained.job}/evaluation").json()
    asked = trained.client.post(f"/jobs/{trained.job}/evaluations", json={})
    assert asked.status_code == 202
    run_queued(trained.context)
    assert trained.client.get(asked.headers["location"]).json()["status"] == "succeeded"
    second = trained.client.get(f"/jobs/{trained.job}/evaluation").json()
    assert second["id"] != first["id"]
    assert second["metrics"] == first["metrics"]
    assert second["confusion_matrix"] == first["confusion_matrix"]


def test_a_dry_run_resolves_everything_and_starts_nothing(trained: Trained) -> None:
    before = trained.client.get("/jobs").json()
    plan = trained.client.post("/jobs?dry_run=true", json={"product": "squares"})
    assert plan.status_code == 200
    assert plan.json()["network"] == "efficientnet_lite0"
    assert plan.json()["hyperparameters"]["image_size"] == 224
    assert trained.client.get("/jobs").json() == before


def test_a_job_exists_although_redis_is_away_and_is_announced_again(
    client: TestClient, context: AppContext
) -> None:
    import_pictures(client, context, "p")
    answer = client.post("/jobs", json={"product": "p", "network": "tiny_cnn", "hyperparameters": TINY})
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/jobs/{answer.json()['id']}"
    assert client.get(answer.headers["location"]).json()["status"] == "queued"
    metrics = client.get(f"/jobs/{answer.json()['id']}/metrics").json()
    assert (metrics["steps"], metrics["epochs"], metrics["test"]) == ([], [], None)


NO_LIMITS = {"min_recall": None, "max_bytes": None, "max_milliseconds": None}
# One step at a tiny rate learns nothing.
LEARNS_NOTHING = {**TINY, "epochs": 1, "learning_rate": 1e-7, "batch_size": 64}


def test_a_model_under_the_threshold_is_kept_without_an_alias_and_the_job_says_why(
    client: TestClient, context: AppContext
) -> None:
    import_pictures(client, context, "p", gate={"min_accuracy": 1.0})
    body = {"product": "p", "network": "tiny_cnn", "hyperparameters": LEARNS_NOTHING}
    job = client.post("/jobs", json=body).json()
    assert job["hyperparameters"]["min_accuracy"] == 1.0
    assert job["gate_rules"] == {**NO_LIMITS, "min_accuracy": 1.0, "on_failure": "keep"}
    run_queued(context)
    ended = client.get(f"/jobs/{job['id']}").json()
    assert ended["status"] == "succeeded"
    assert (ended["gate"]["passed"], ended["gate"]["became_champion"]) == (False, False)
    assert "min_accuracy" in ended["gate"]["reasons"][0]
    [model] = client.get("/models").json()["data"]
    assert (model["id"], model["passed_gate"], model["aliases"]) == (ended["model"], False, [])
    assert client.get("/products/p").json()["champion"] is None
    assert client.post("/predict", files={"file": ("p.png", b"x")}, data={"product": "p"}).status_code == 409
    asked = client.post("/predict", files={"file": ("p.png", PICTURE)}, data={"job": job["id"]})
    assert asked.json()["model"]["id"] == ended["model"]
    evaluated = client.post(f"/jobs/{job['id']}/evaluations", json={})
    run_queued(context)
    assert client.get(evaluated.headers["location"]).json()["status"] == "succeeded"


def test_a_model_that_is_removed_while_a_training_from_it_is_planned_refuses_the_training(
    client: TestClient, context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_pictures(client, context, "p", gate={"min_accuracy": 1.0})
    client.post("/jobs", json={"product": "p", "network": "tiny_cnn", "hyperparameters": LEARNS_NOTHING})
    run_queued(context)
    [model] = [found["id"] for found in client.get("/models").json()["data"]]
    none_kept = replace(context, settings=context.settings.model_copy(update={"kept_models": 0}))

    def decide_slowly(*arguments: Any) -> Any:
        assert kept_models.remove_kept_models(none_kept) == [model]
        return decide(*arguments)

    monkeypatch.setattr(jobs, "decide", decide_slowly)
    settings = {**LEARNS_NOTHING, "pretrained": model}
    answer = client.post("/jobs", json={"product": "p", "network": "tiny_cnn", "hyperparameters": settings})
    assert answer.status_code == 409
    assert model in answer.json()["detail"]


def test_a_model_under_the_threshold_is_not_saved_where_the_gate_says_so(
    client: TestClient, context: AppContext
) -> None:
    import_pictures(client, context, "p")
    gate = {"min_accuracy": 1.0, "on_failure": "discard"}
    body = {"product": "p", "network": "tiny_cnn", "hyperparameters": LEARNS_NOTHING, "gate": gate}
    job = client.post("/jobs", json=body).json()
    assert (job["gate_rules"], job["hyperparameters"]["min_accuracy"]) == (NO_LIMITS | gate, 1.0)
    run_queued(context)
    ended = client.get(f"/jobs/{job['id']}").json()
    assert (ended["status"], ended["model"]) == ("succeeded", None)
    assert "no model was saved" in ended["gate"]["reasons"][0]
    assert client.get(f"/jobs/{job['id']}/evaluation").status_code == 200
    assert client.get("/models").json()["data"] == []
    for query in ({"product": "p"}, {"job": job["id"]}):
        answer = client.post("/predict", files={"file": ("p.png", b"x")}, data=query)
        assert answer.status_code == 409


def test_the_least_accuracy_may_be_said_twice_but_not_in_two_ways(trained: Trained) -> None:
    def plan(gate: float, setting: float) -> Any:
        body = {
            "product": "squares",
            "gate": {"min_accuracy": gate},
            "hyperparameters": {"min_accuracy": setting},
        }
        return trained.client.post("/jobs?dry_run=true", json=body)

    rules = {**NO_LIMITS, "min_accuracy": 0.5, "on_failure": "keep"}
    assert plan(0.5, 0.5).json()["gate_rules"] == rules
    refused = plan(0.5, 0.75)
    assert refused.status_code == 422
    assert "gate.min_accuracy is 0.5, but hyperparameters.min_accuracy is 0.75" in refused.text


def test_a_training_keeps_the_rules_of_its_product_unless_it_has_its_own(
    client: TestClient, context: AppContext
) -> None:
    gate = {"min_recall": {"red": 0.5, "crack": 0.9}, "max_bytes": 10, "max_milliseconds": 1e-6}
    import_pictures(client, context, "p", gate=gate)
    body = {"product": "p", "network": "tiny_cnn", "hyperparameters": LEARNS_NOTHING}
    own = client.post("/jobs?dry_run=true", json={**body, "gate": {"min_recall": {}, "max_bytes": 9}}).json()
    rules = {"min_accuracy": 0.0, "on_failure": "keep"}
    assert own["gate_rules"] == {**rules, "min_recall": None, "max_bytes": 9, "max_milliseconds": 1e-6}
    job = client.post("/jobs", json=body).json()
    assert job["gate_rules"] == rules | gate
    client.patch("/products/p", json={"gate": {"max_bytes": None, "min_recall": None}}).raise_for_status()
    run_queued(context)
    ended = client.get(f"/jobs/{job['id']}").json()["gate"]
    assert (ended["passed"], ended["became_champion"]) == (False, False)
    reasons = "\n".join(ended["reasons"])
    assert "min_recall asks for 0.9 of crack, a class that the model does not know" in reasons
    assert "more than max_bytes 10." in reasons
    assert "more than max_milliseconds 1e-06: the model is kept" in reasons


def test_limits_of_a_gate_are_refused_beside_a_worker_of_the_first_release(
    client: TestClient, context: AppContext
) -> None:
    import_pictures(client, context, "p")
    workers.beat(context, new_worker("old"))
    with context.db.write() as session:
        session.execute(update(Worker).values(kinds=null()))
    body = {"product": "p", "network": "tiny_cnn", "hyperparameters": TINY}
    refused = client.post("/jobs", json={**body, "gate": {"max_bytes": 10}})
    assert refused.status_code == 409
    assert "gate_limits" in refused.json()["detail"]
    assert client.post("/jobs", json=body).status_code == 201


def test_a_worse_model_is_saved_but_does_not_become_champion(trained: Trained) -> None:
    champion = trained.client.get("/products/squares").json()["champion"]
    before = trained.client.get(f"/models/{champion}").json()["metrics"]["accuracy"]["value"]
    assert before > 0.5
    body = {"product": "squares", "network": "tiny_cnn", "hyperparameters": LEARNS_NOTHING}
    job = trained.client.post("/jobs", json=body).json()["id"]
    run_queued(trained.context)
    ended = trained.client.get(f"/jobs/{job}").json()
    assert ended["model"] is not None
    assert (ended["gate"]["passed"], ended["gate"]["became_champion"]) == (True, False)
    assert "champion" in ended["gate"]["reasons"][0]
    assert trained.client.get("/products/squares").json()["champion"] == champion
    asked = trained.client.post("/predict", files={"file": ("p.png", PICTURE)}, data={"job": job})
    assert asked.json()["model"]["id"] == ended["model"]


def test_a_queued_job_is_cancelled_at_once_and_never_runs(client: TestClient, context: AppContext) -> None:
    import_pictures(client, context, "p")
    job = client.post("/jobs", json={"product": "p", "network": "tiny_cnn", "hyperparameters": TINY}).json()[
        "id"
    ]
    assert client.post(f"/jobs/{job}/stop").status_code == 409
    assert client.post(f"/jobs/{job}/cancel").status_code == 202
    assert client.post(f"/jobs/{job}/cancel").status_code == 200
    assert run_queued(context) == []
    assert client.get(f"/jobs/{job}").json()["status"] == "cancelled"
    assert client.post(f"/jobs/{job}/stop").status_code == 409


def test_a_cancelled_import_leaves_a_failed_dataset(client: TestClient) -> None:
    dataset = upload_pictures(client, "p")
    client.post(f"/jobs/{dataset['job']}/cancel")
    assert client.get(f"/datasets/{dataset['id']}").json()["status"] == "failed"


def test_a_loss_that_is_not_finite_fails_with_a_hint(client: TestClient, context: AppContext) -> None:
    import_pictures(client, context, "p")
    settings = {
        **TINY,
        "epochs": 30,
        "learning_rate": 10,
        "optimizer": "sgd",
        "warmup_epochs": 0,
        "momentum": 0.99,
    }
    body = {"product": "p", "network": "resnet18", "hyperparameters": {**settings, "image_size": 32}}
    job = client.post("/jobs", json=body).json()["id"]
    run_queued(context)
    ended = client.get(f"/jobs/{job}").json()
    assert ended["status"] == "failed"
    assert ended["error"]["code"] == "not_finite"
    assert "learning_rate" in ended["error"]["hint"]
