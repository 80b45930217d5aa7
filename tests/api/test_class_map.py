"""``class_map``: kept in the job and in its model, and applied to what the model is evaluated on."""

from __future__ import annotations

import json
from typing import Any

from fastapi.testclient import TestClient
from sqlalchemy import null, update

from app.artifacts import open_artifact
from app.context import AppContext
from app.models import TrainedModel, Worker
from app.services import workers
from tests.pictures import make_files, make_picture, make_zip
from tests.running import TINY, import_pictures, run_queued
from tests.services.test_workers import new_worker

MAP = {"drop": ["rare"], "merge": {"cold": ["blue", "green"]}}


def with_rare() -> dict[str, bytes]:
    return {**make_files(), "rare/1.png": make_picture("red", 500)}


def ask(**more: Any) -> dict[str, Any]:
    return {"product": "p", "network": "tiny_cnn", "hyperparameters": TINY, **more}


def test_a_rare_class_is_left_out_and_two_become_one(client: TestClient, context: AppContext) -> None:
    import_pictures(client, context, "p", with_rare())
    assert client.post("/jobs", json=ask()).json()["code"] == "split_impossible"
    plan = client.post("/jobs", params={"dry_run": True}, json=ask(class_map=MAP)).json()
    assert plan["class_map"]["merge"] == {"cold": ["blue", "green"]}
    job = client.post("/jobs", json=ask(class_map=MAP)).raise_for_status().json()
    run_queued(context)
    answer = client.get(f"/jobs/{job['id']}").json()
    assert answer["error"] is None
    assert answer["class_map"] == {"keep": None, **MAP}
    assert sum(answer["split"]["counts"].values()) == 36
    evaluation = client.get(f"/jobs/{job['id']}/evaluation").json()
    assert [entry["name"] for entry in evaluation["classes"]] == ["cold", "red"]
    assert evaluation["unknown_classes"] == []
    with context.db.read() as session:
        model = session.get_one(TrainedModel, answer["model"])
    manifest = open_artifact(context.storage.absolute(model.folder)).manifest
    assert manifest.labels == ("cold", "red")
    assert manifest.class_map == {"keep": None, **MAP}
    assert manifest.dataset_digest == answer["dataset"]["digest"]

    again = client.post(f"/jobs/{job['id']}/evaluations", json={}).raise_for_status().json()
    other = client.post("/products/p/datasets", files={"file": make_zip(with_rare())}).json()["id"]
    one = client.post("/products/p/datasets", files={"file": make_zip(make_files(3, ("red",)))}).json()["id"]
    run_queued(context)
    assert client.get(f"/jobs/{again['id']}").json()["status"] == "succeeded"
    for dataset, items in ((other, 36), (one, 3)):
        asked = {"dataset": dataset, "include_trained": True}
        client.post(f"/jobs/{job['id']}/evaluations", json=asked).raise_for_status()
        run_queued(context)
        evaluation = client.get(f"/jobs/{job['id']}/evaluation", params={"dataset": dataset}).json()
        assert (evaluation["items"], evaluation["unknown_classes"]) == (items, [])


def test_a_training_on_one_class_is_refused_with_a_sentence(client: TestClient, context: AppContext) -> None:
    dataset = import_pictures(client, context, "p", make_files(labels=("red",)))
    assert client.get(f"/datasets/{dataset}").json()["status"] == "ready"
    answer = client.post("/jobs", json=ask())
    assert answer.status_code == 422
    assert "one class only, red" in answer.json()["detail"]


def test_a_map_that_leaves_one_class_is_refused(client: TestClient, context: AppContext) -> None:
    import_pictures(client, context, "p")
    answer = client.post("/jobs", json=ask(class_map={"keep": ["red"]}))
    assert (answer.status_code, answer.json()["code"]) == (422, "split_impossible")
    answer = client.post("/jobs", json=ask(class_map={"keep": ["purple"]}))
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/class_map")


def test_a_map_is_refused_while_a_worker_of_the_first_release_is_there(
    client: TestClient, context: AppContext
) -> None:
    import_pictures(client, context, "p")
    workers.beat(context, new_worker("old"))
    with context.db.write() as session:
        session.execute(update(Worker).values(kinds=null()))
    answer = client.post("/jobs", json=ask(class_map={"drop": ["red"]}))
    assert answer.status_code == 409
    assert "class_map" in answer.json()["detail"]


def test_a_waiting_training_gets_its_classes_when_it_starts(client: TestClient, context: AppContext) -> None:
    client.post("/products", json={"id": "p"})
    client.post("/products/p/datasets", files={"file": make_zip(with_rare())})
    job = client.post("/jobs", json=ask(class_map=MAP)).raise_for_status().json()["id"]
    run_queued(context)
    answer = client.get(f"/jobs/{job}").json()
    assert answer["status"] == "succeeded", json.dumps(answer["error"])
    assert sum(answer["split"]["counts"].values()) == 36
