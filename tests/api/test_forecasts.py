"""``POST /jobs?dry_run=true``: what a training takes and brings, said before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.context import AppContext
from app.datasets.examination.vectors import images_of
from app.datasets.manifest import load_manifest
from app.features.files import NETWORK
from app.features.vectors import write_vectors
from app.services import forecasts
from app.services.limited_child import taking_turn
from tests.pictures import COLOURS, make_files, make_picture, make_zip
from tests.running import TINY, import_pictures, run_queued, upload_pictures
from tests.services.rows import dump


def forecast(client: TestClient, **body: Any) -> dict[str, Any]:
    answer = client.post("/jobs?dry_run=true", json={"product": "p", **body})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()["forecast"]
    return found


def why(found: dict[str, Any], what: str) -> dict[str, Any]:
    [one] = [unknown for unknown in found["unknown"] if unknown["what"] == what]
    assert found[what] is None
    return dict(one)


def give_vectors(context: AppContext, dataset: str) -> None:
    """Feature vectors that tell the classes apart, as an examination would leave them."""
    folder = context.storage.dataset(dataset)
    manifest = load_manifest(folder)
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(len(manifest.classes), 40))
    rows = [manifest.classes.index(item.label) for item in manifest.items]
    vectors = (centres[rows] + rng.normal(size=(len(rows), 40))).astype(np.float16)
    write_vectors(folder, images_of(manifest), vectors, extractor="e" * 64, network=NETWORK)


@pytest.fixture
def dataset(client: TestClient, context: AppContext) -> str:
    return import_pictures(client, context, "p", make_files(30))


def files_of(root: Path) -> dict[str, int]:
    """Without the database's own files, which change when they are read."""
    return {
        str(path.relative_to(root)): path.stat().st_size
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith("loupe.db")
    }


def test_all_of_it_is_said_nothing_is_written_and_no_job_is_started(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    give_vectors(context, dataset)
    before = dump(context), files_of(context.storage.root)
    found = forecast(client)
    assert (dump(context), files_of(context.storage.root)) == before
    assert found["unknown"] == []
    for values in (found["time"]["seconds"], found["memory"]["bytes"], found["accuracy"]["test"]):
        assert 0 < values["low"] < values["expected"] <= values["high"]
    assert [stage["stage"] for stage in found["time"]["stages"]][-1] == "verifying"
    assert found["time"]["trainings_before"] == 0
    assert found["disk"]["running_bytes"] > found["disk"]["kept_bytes"] > 0
    curve = found["accuracy"]["curve"]
    assert [point["images"] for point in curve] == sorted(point["images"] for point in curve)
    assert curve[-1]["accuracy"] > 0.9
    assert "judged by 76 images" in found["accuracy"]["basis"], "those of the test split have no say"


def test_classes_that_are_not_learned_have_no_say(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    give_vectors(context, dataset)
    found = forecast(client, class_map={"drop": ["red"]})
    assert found["accuracy"]["curve"][-1]["images"] < 60


@pytest.mark.usefixtures("dataset")
def test_who_asks_for_the_settings_alone_waits_for_no_forecast(client: TestClient) -> None:
    plan = client.post("/jobs?dry_run=true&forecast=false", json={"product": "p"}).json()
    assert plan["forecast"] is None
    assert plan["hyperparameters"]["epochs"]


def test_the_images_of_an_evaluation_dataset_may_be_others_and_the_answer_says_so(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    give_vectors(context, dataset)
    archive = make_zip(
        {f"{label}/{n}.png": make_picture(label, 900 + n) for label in COLOURS for n in range(3)}
    )
    other = client.post("/products/p/datasets", files={"file": ("other.zip", archive)}).json()["id"]
    run_queued(context)
    found = forecast(client, dataset=dataset, evaluation_dataset=other, split={"test": 0})
    assert f"whose images {other} may not be like" in found["accuracy"]["basis"]


@pytest.mark.usefixtures("dataset")
def test_a_dataset_that_was_not_examined_has_no_accuracy_and_the_answer_says_what_to_do(
    client: TestClient,
) -> None:
    found = forecast(client)
    unknown = why(found, "accuracy")
    assert unknown["command"].startswith("loupe dataset examine dst_")
    assert found["time"]
    assert found["memory"]


def test_a_start_from_random_weights_has_no_accuracy(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    give_vectors(context, dataset)
    found = forecast(client, network="tiny_cnn", hyperparameters=TINY)
    assert "random weights" in why(found, "accuracy")["why"]
    assert found["time"]["seconds"]["expected"] < 200


def test_while_the_dataset_is_importing_nothing_is_known(client: TestClient) -> None:
    dataset = upload_pictures(client, "p")["id"]
    found = forecast(client)
    assert {one["what"] for one in found["unknown"]} == {"time", "memory", "disk", "accuracy"}
    assert why(found, "time")["command"] == f"loupe dataset show {dataset}"


def test_no_forecast_takes_longer_than_its_limit(
    client: TestClient, context: AppContext, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_vectors(context, dataset)
    monkeypatch.setattr(forecasts, "SECONDS", 0.05)
    found = forecast(client)
    assert "more than 0.05 s" in why(found, "accuracy")["why"]
    assert found["time"]
    assert list(context.storage.scratch.glob("forecast-*")) == []


def test_one_that_finds_others_at_work_does_not_wait_for_long(
    client: TestClient, context: AppContext, dataset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give_vectors(context, dataset)
    monkeypatch.setattr(forecasts, "WAIT_SECONDS", 0.05)
    with taking_turn():
        found = forecast(client)
    assert "ask again" in why(found, "accuracy")["why"]


def test_a_damaged_file_of_vectors_is_a_reason_and_no_error(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    give_vectors(context, dataset)
    path = context.storage.dataset(dataset) / "features.npy"
    path.write_bytes(path.read_bytes()[:-7])
    assert "damaged" in why(forecast(client), "accuracy")["why"]


REFUSED: tuple[dict[str, Any], ...] = (
    {"product": "none"},
    {"product": "p", "network": "resnet_9000"},
    {"product": "p", "dataset": "dst_none"},
    {"product": "p", "hyperparameters": {"epochs": 0}},
    {"product": "p", "hyperparameters": {"method": "linear", "epochs": 5}},
    {"product": "p", "hyperparameters": {"image_size": 9}, "network": "resnet18"},
    {"product": "p", "hyperparameters": {"pretrained": "mdl_none"}},
    {"product": "p", "split": {"train": 0.9, "valid": 0.9, "test": 0.1}},
    {"product": "p", "class_map": {"drop": ["purple"]}},
    {"product": "p", "gpus": 64, "hyperparameters": {"batch_size": 8}},
)


@pytest.mark.usefixtures("dataset")
def test_a_request_that_would_be_refused_is_refused_in_the_same_words(client: TestClient) -> None:
    for body in REFUSED:
        answers = [client.post("/jobs", params=params, json=body) for params in ({}, {"dry_run": "true"})]
        real, dry = ({**one.json(), "request_id": None} for one in answers)
        assert real == dry
        assert real["status"] >= 400
    assert client.get("/jobs?kind=training").json()["data"] == []
