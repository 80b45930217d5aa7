"""``method: linear``: a classifier on frozen features, proved and served like any other model."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import null, update

from app.context import AppContext
from app.models import Worker
from app.services import workers
from tests.extractors import give_extractor
from tests.pictures import make_files, make_picture
from tests.running import TINY, import_pictures, run_queued
from tests.services.test_workers import new_worker


def train(client: TestClient, context: AppContext, **wanted: Any) -> dict[str, Any]:
    asked = client.post("/jobs", json=wanted)
    assert asked.status_code == 201, asked.text
    run_queued(context)
    job: dict[str, Any] = client.get(f"/jobs/{asked.json()['id']}").json()
    assert job["error"] is None
    return job


def test_an_examined_dataset_has_a_champion_without_a_step_of_gradient_descent(
    client: TestClient, context: AppContext
) -> None:
    give_extractor(context.storage.root)
    dataset = import_pictures(client, context, "p", make_files(20))
    client.post(f"/datasets/{dataset}/examinations").raise_for_status()
    run_queued(context)
    job = train(client, context, product="p", hyperparameters={"method": "linear"})
    assert job["network"] == "efficientnet_lite0"
    assert job["hyperparameters"]["method"] == "linear"
    assert job["hyperparameters"]["epochs"] == 1
    assert job["gate"]["became_champion"]
    evaluation = client.get(f"/jobs/{job['id']}/evaluation").json()
    assert evaluation["metrics"]["accuracy"]["value"] >= 0.8
    model = client.get(f"/models/{job['model']}").json()
    assert model["serving"]["parity"]["labels_equal"] == model["serving"]["parity"]["items"]
    assert model["serving"]["parity"]["max_probability_difference"] < 1e-4
    epochs = client.get(f"/jobs/{job['id']}/metrics").json()["epochs"]
    assert [each["epoch"] for each in epochs] == [1]
    answer = client.post(
        "/predict", data={"product": "p"}, files={"file": ("x.png", make_picture("green", 99))}
    )
    assert answer.json()["predictions"][0]["label"] == "green"
    check_forecast(client, evaluation["metrics"]["accuracy"]["value"])


def check_forecast(client: TestClient, accuracy: float) -> None:
    """What is forecast of such a training, now that one has ended and the extractor is there to be timed."""
    body = {"product": "p", "hyperparameters": {"method": "linear"}}
    forecast = client.post("/jobs?dry_run=true", json=body).json()["forecast"]
    assert forecast["unknown"] == []
    assert forecast["time"]["basis"].startswith("1 past training of efficientnet_lite0 here")
    assert forecast["memory"]["basis"] == "1 past training of efficientnet_lite0 here"
    assert forecast["memory"]["bytes"]["expected"] > 3e8
    assert forecast["accuracy"]["test"]["low"] <= accuracy <= forecast["accuracy"]["test"]["high"]
    tuned = client.post("/jobs?dry_run=true", json={"product": "p"}).json()["forecast"]
    assert "the speed of this one" in tuned["time"]["basis"]
    assert tuned["time"]["seconds"]["expected"] > forecast["time"]["seconds"]["expected"]


def test_another_network_is_run_once_over_the_images_and_gives_the_same_bits_each_time(
    client: TestClient, context: AppContext
) -> None:
    import_pictures(client, context, "p")
    of_small = {"product": "p", "network": "tiny_cnn"}
    start = train(client, context, **of_small, hyperparameters=TINY)["model"]
    settings = {"method": "linear", "pretrained": start, "image_size": TINY["image_size"]}
    jobs = [train(client, context, **of_small, hyperparameters=settings) for _ in range(2)]
    first, second, before = (
        client.get(f"/models/{model}").json() for model in (jobs[0]["model"], jobs[1]["model"], start)
    )
    assert first["weights_sha256"] == second["weights_sha256"] != before["weights_sha256"]
    assert first["metrics"]["accuracy"]["value"] >= 0.9
    assert first["serving"]["parity"]["labels_equal"] == first["serving"]["parity"]["items"]


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"network": "tiny_cnn", "hyperparameters": {}}, "loupe weights download tiny_cnn"),
        ({"hyperparameters": {"pretrained": "none"}}, "loupe weights"),
        ({"hyperparameters": {"epochs": 5, "learning_rate": 0.1}}, "Leave them out"),
        ({"hyperparameters": {"augmentation": "strong"}}, "Leave them out"),
    ],
)
def test_what_cannot_be_linear_is_refused_at_once(
    client: TestClient, context: AppContext, wanted: dict[str, Any], said: str
) -> None:
    import_pictures(client, context, "p", make_files(4))
    wanted["hyperparameters"]["method"] = "linear"
    answer = client.post("/jobs", json={"product": "p", **wanted})
    assert answer.status_code == 422
    assert said in answer.json()["hint"]
    assert answer.json()["errors"]


def test_beside_a_worker_of_the_first_release_it_is_refused_and_others_are_not(
    client: TestClient, context: AppContext
) -> None:
    import_pictures(client, context, "p", make_files(4))
    workers.beat(context, new_worker("old"))
    with context.db.write() as session:
        session.execute(update(Worker).values(kinds=null()))
    refused = client.post("/jobs", json={"product": "p", "hyperparameters": {"method": "linear"}})
    assert refused.status_code == 409
    assert "method" in refused.json()["detail"]
    accepted = client.post("/jobs", json={"product": "p", "network": "tiny_cnn", "hyperparameters": TINY})
    assert "method" not in accepted.json()["hyperparameters"]


def test_other_trainings_say_their_method_too(client: TestClient, context: AppContext) -> None:
    import_pictures(client, context, "p", make_files(4))
    plan = client.post("/jobs?dry_run=true", json={"product": "p", "network": "tiny_cnn"}).json()
    assert plan["hyperparameters"]["method"] == "fine_tune"
    assert plan["hyperparameters"]["augmentation"] == "light"
