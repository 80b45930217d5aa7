"""``evaluation_dataset``: a training that is tested on all images of another dataset."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import null, update

from app import migrations
from app.artifacts import open_artifact
from app.config import Settings
from app.context import AppContext
from app.models import TrainedModel, Worker
from app.services import workers
from tests.clients import local_client
from tests.pictures import COLOURS, make_files, make_picture, make_zip
from tests.running import TINY, import_pictures, run_queued
from tests.services.rows import change_job, dump
from tests.services.test_workers import new_worker


def others(count: int = 3) -> dict[str, bytes]:
    """Images of the same classes that no other dataset has."""
    return {
        f"{label}/{index}.png": make_picture(label, 900 + index)
        for label in COLOURS
        for index in range(count)
    }


def upload(client: TestClient, files: dict[str, bytes], product: str = "p") -> str:
    answer = client.post(f"/products/{product}/datasets", files={"file": make_zip(files)})
    return str(answer.raise_for_status().json()["id"])


def upload_now(client: TestClient, context: AppContext, files: dict[str, bytes], product: str = "p") -> str:
    dataset = upload(client, files, product)
    run_queued(context)
    return dataset


def ask(dataset: str, tested: str, **more: Any) -> dict[str, Any]:
    body = {"product": "p", "network": "tiny_cnn", "hyperparameters": TINY, "split": {"test": 0}}
    return {**body, "dataset": dataset, "evaluation_dataset": tested, **more}


@pytest.fixture
def hosts(settings: Settings, tmp_path: Path) -> Iterator[tuple[TestClient, AppContext, AppContext]]:
    """An API, its host, and another host: they share a storage and no folder."""
    (tmp_path / "shared").mkdir()
    shared = {
        "storage_url": f"file://{tmp_path / 'shared'}",
        "database_url": f"sqlite:///{tmp_path / 'loupe.db'}",
    }
    api, worker = (
        AppContext.open(settings.model_copy(update={**shared, "home": tmp_path / name}))
        for name in ("api", "worker")
    )
    migrations.upgrade(api.db)
    with local_client(api.settings, raise_server_exceptions=False) as client:
        yield client, api, worker
    worker.close()
    api.close()


def test_images_that_the_model_trained_on_are_counted_and_left_out_of_its_figures(
    client: TestClient, context: AppContext
) -> None:
    dataset = import_pictures(client, context, "p")
    body = {"product": "p", "dataset": dataset, "network": "tiny_cnn", "hyperparameters": TINY}
    job = client.post("/jobs", json=body).raise_for_status().json()["id"]
    mixed = upload_now(client, context, {**make_files(), **others(2)})
    counts = client.get(f"/jobs/{job}").json()["split"]["counts"]
    learned = counts["train"] + counts["valid"]

    def evaluate(**more: Any) -> dict[str, Any]:
        client.post(f"/jobs/{job}/evaluations", json={"dataset": mixed, **more}).raise_for_status()
        run_queued(context)
        found: dict[str, Any] = client.get(f"/jobs/{job}/evaluation?dataset={mixed}").json()
        return found

    fair = evaluate()
    assert (fair["trained_items"], fair["items"]) == (learned, counts["test"] + 6)
    assert f"{learned} images are ones that the model trained on, and left out" in fair["warnings"][0]
    rows = client.get(f"/jobs/{job}/evaluation/predictions?dataset={mixed}").text.splitlines()
    assert len(rows) == 1 + fair["items"]
    flattering = evaluate(include_trained=True)
    assert (flattering["trained_items"], flattering["items"]) == (learned, learned + fair["items"])
    assert "are too high" in flattering["warnings"][0]
    final = client.get(f"/jobs/{job}/evaluation").json()
    assert (final["subset"], final["trained_items"], final["items"]) == ("test", 0, counts["test"])


def test_a_training_on_everything_is_tested_on_another_dataset(
    hosts: tuple[TestClient, AppContext, AppContext],
) -> None:
    client, context, other_host = hosts
    rare = {"rare/1.png": make_picture("red", 990)}
    dataset = import_pictures(client, context, "p", {**make_files(), "black/1.png": make_picture("red", 991)})
    tested = upload_now(client, context, {**others(), **rare})
    mapped = {"drop": ["blue", "black"]}
    body = ask(dataset, tested, class_map=mapped)
    plan = client.post("/jobs", params={"dry_run": True}, json=body).raise_for_status().json()
    assert plan["evaluation_dataset"]["id"] == tested
    assert plan["split"]["counts"] == {"train": 20, "valid": 4, "test": 0}
    job = client.post("/jobs", json=body).raise_for_status().json()["id"]
    run_queued(other_host)

    answer = client.get(f"/jobs/{job}").json()
    assert answer["error"] is None
    assert answer["status"] == "succeeded"
    digest = client.get(f"/datasets/{tested}").json()["digest"]
    assert answer["evaluation_dataset"] == {"id": tested, "digest": digest}
    evaluation = client.get(f"/jobs/{job}/evaluation").json()
    assert (evaluation["dataset"], evaluation["subset"], evaluation["items"]) == (tested, "all", 7)
    assert evaluation["unknown_classes"] == [{"name": "rare", "items": 1}]
    assert client.get(f"/jobs/{job}/metrics").json()["test"]["items"] == 7
    rows = list(csv.DictReader(client.get(f"/jobs/{job}/evaluation/predictions").text.splitlines()))
    assert sorted({row["label"] for row in rows}) == ["green", "rare", "red"]
    assert len(rows) == 7
    with context.db.read() as session:
        model = session.get_one(TrainedModel, answer["model"])
    assert model.dataset_id == dataset
    assert model.metrics == evaluation["metrics"]
    assert model.serving["parity"]["items"] == 7
    folder = context.storage.remote.download(context.storage.absolute(model.folder))
    assert open_artifact(folder).manifest.evaluation_dataset_digest == digest
    assert client.get("/products/p/aliases").json()[0]["model"] == model.id

    again = client.post(f"/jobs/{job}/evaluations").raise_for_status().json()
    assert again["dataset"]["id"] == tested
    run_queued(other_host)
    assert client.get(f"/jobs/{again['id']}").json()["status"] == "succeeded"
    assert client.get(f"/jobs/{job}/evaluation").json()["metrics"] == evaluation["metrics"]
    refused = client.post(f"/jobs/{job}/evaluations", json={"dataset": dataset})
    assert refused.status_code == 422
    assert "none is left to test on" in refused.json()["detail"]

    refused = client.delete(f"/datasets/{tested}")
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (409, f"/jobs/{job}/evaluation")
    client.delete(f"/datasets/{tested}", params={"force": True}).raise_for_status()
    assert client.get(f"/jobs/{job}").json()["evaluation_dataset"] == {"id": tested, "digest": None}
    assert client.get(f"/models/{model.id}").json()["metrics"] == evaluation["metrics"]


def test_without_an_evaluation_dataset_a_test_split_is_needed(
    client: TestClient, context: AppContext
) -> None:
    import_pictures(client, context, "p")
    answer = client.post("/jobs", json={"product": "p", "network": "tiny_cnn", "split": {"test": 0}})
    assert answer.status_code == 422
    assert "evaluation_dataset" in answer.text


def test_images_that_are_trained_on_are_a_leak_that_is_counted_and_named(
    client: TestClient, context: AppContext
) -> None:
    dataset = import_pictures(client, context, "p")
    copies = {f"red/copy{index}.png": make_picture("red", index) for index in range(5)}
    tested = upload_now(client, context, {**others(), **copies})
    for params in ({}, {"dry_run": True}):
        answer = client.post("/jobs", params=params, json=ask(dataset, tested))
        assert (answer.status_code, answer.json()["code"]) == (422, "test_images_trained_on")
        assert f"5 images of evaluation dataset {tested}" in answer.json()["detail"]
        assert "red/copy0.png, red/copy1.png, red/copy2.png and 2 more" in answer.json()["detail"]
        assert answer.json()["errors"][0]["pointer"] == "/evaluation_dataset"
        assert answer.json()["errors"][0]["message"].startswith("red/copy0.png is red/red_000.png in ")
    itself = client.post("/jobs", json=ask(dataset, dataset))
    assert "36 images" in itself.json()["detail"]
    # What the class map leaves out is neither trained on nor tested on.
    dropped = client.post(
        "/jobs", params={"dry_run": True}, json=ask(dataset, tested, class_map={"drop": ["red"]})
    )
    assert dropped.status_code == 200


def test_a_test_part_beside_an_evaluation_dataset_is_left_aside(
    client: TestClient, context: AppContext
) -> None:
    dataset = import_pictures(client, context, "p")
    tested = upload_now(client, context, others())
    plan = client.post("/jobs", params={"dry_run": True}, json=ask(dataset, tested, split={})).json()
    assert plan["split"]["counts"] == {"train": 25, "valid": 5, "test": 6}


def test_an_evaluation_dataset_must_be_of_the_product_ready_and_of_its_classes(
    client: TestClient, context: AppContext
) -> None:
    foreign = import_pictures(client, context, "q", others())
    dataset = import_pictures(client, context, "p")
    strange = upload_now(client, context, {"rare/1.png": make_picture("red", 990)})
    importing = upload(client, others())
    refusals = {
        foreign: (422, "belongs to product"),
        strange: (422, "no image of a class"),
        importing: (409, "still importing"),
        "dst_none": (404, "no dataset"),
    }
    for tested, (status, sentence) in refusals.items():
        answer = client.post("/jobs", json=ask(dataset, tested))
        assert (answer.status_code, sentence in answer.json()["detail"]) == (status, True), answer.text


def test_it_is_refused_while_a_worker_of_the_first_release_is_there(
    client: TestClient, context: AppContext
) -> None:
    dataset = import_pictures(client, context, "p")
    tested = upload_now(client, context, others())
    workers.beat(context, new_worker("old"))
    with context.db.write() as session:
        session.execute(update(Worker).values(kinds=null()))
    answer = client.post("/jobs", json=ask(dataset, tested))
    assert (answer.status_code, "evaluation_dataset" in answer.json()["detail"]) == (409, True)


def test_a_leak_of_a_dataset_that_was_still_importing_fails_the_job_before_it_trains(
    client: TestClient, context: AppContext
) -> None:
    tested = import_pictures(client, context, "p", others())
    dataset = upload(client, {**make_files(), "red/leak.png": make_picture("red", 900)})
    job = client.post("/jobs", json=ask(dataset, tested)).raise_for_status().json()
    assert job["evaluation_dataset"]["id"] == tested
    run_queued(context)
    answer = client.get(f"/jobs/{job['id']}").json()
    assert (answer["status"], answer["error"]["code"]) == ("failed", "test_images_trained_on")
    assert client.get(f"/jobs/{job['id']}/metrics").json()["steps"] == []


@pytest.mark.parametrize("status", ["queued", "running", "paused"])
def test_under_a_training_that_is_tested_on_it_no_dataset_goes_even_by_force(
    client: TestClient, context: AppContext, status: str
) -> None:
    dataset = import_pictures(client, context, "p")
    tested = upload_now(client, context, others())
    job = client.post("/jobs", json=ask(dataset, tested)).raise_for_status().json()["id"]
    change_job(context, job, status=status)
    before = dump(context)
    for force in (False, True):
        answer = client.delete(f"/datasets/{tested}", params={"force": force})
        assert (answer.status_code, answer.json()["errors"]) == (
            409,
            [{"pointer": f"/jobs/{job}", "message": f"a training, {status}"}],
        )
    assert dump(context) == before


def test_a_failed_training_is_not_retried_once_its_evaluation_dataset_is_gone(
    client: TestClient, context: AppContext
) -> None:
    dataset = import_pictures(client, context, "p")
    tested = upload_now(client, context, others())
    job = client.post("/jobs", json=ask(dataset, tested)).raise_for_status().json()["id"]
    change_job(context, job, status="failed")
    client.delete(f"/datasets/{tested}").raise_for_status()
    answer = client.post(f"/jobs/{job}/retry")
    assert (answer.status_code, tested in answer.json()["detail"]) == (409, True)
