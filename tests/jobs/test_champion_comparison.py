"""A training ends while its product has a champion: the real worker, child and models."""

from __future__ import annotations

from typing import Any

from fastapi.testclient import TestClient

from app.context import AppContext
from app.models import TrainedModel
from tests.pictures import make_picture
from tests.running import TINY, import_pictures, run_queued
from tests.services.served_models import MakeArtifact, add_served_model

PAINTED = {"red": "green", "green": "blue", "blue": "red"}
"""Harder images: of each class in the colour of another."""


def end_of_a_training(client: TestClient, context: AppContext, dataset: str) -> Any:
    body = {"product": "squares", "dataset": dataset, "network": "tiny_cnn", "hyperparameters": TINY}
    client.post("/jobs", json=body).raise_for_status()
    [job] = run_queued(context)
    answer = client.get(f"/jobs/{job}").json()
    assert answer["status"] == "succeeded", answer["error"]
    return answer


def test_the_champion_is_asked_about_the_test_images_of_each_new_model(
    client: TestClient, context: AppContext, make_artifact: MakeArtifact
) -> None:
    files = {
        f"{label}/{number}.png": make_picture(colour, number)
        for label, colour in PAINTED.items()
        for number in range(20)
    }
    dataset = import_pictures(client, context, "squares", files)
    easy = add_served_model(context, make_artifact, alias="champion")
    with context.db.write() as session:
        # Six easy images, all of them right: by these numbers nothing would ever be better.
        session.get_one(TrainedModel, easy).metrics = {"accuracy": {"value": 1.0, "low": 0.6, "high": 1.0}}
    first = end_of_a_training(client, context, dataset)
    gate = first["gate"]
    assert gate["became_champion"], gate["reasons"]
    found = gate["comparison"]
    assert (found["champion"], found["champion_right"], found["only_champion"]) == (easy, 0, 0)
    assert found["images"] == first["split"]["counts"]["test"]
    # The row of that champion names a dataset that has no files here.
    assert not found["knows_champion_training"]
    assert client.get("/products/squares").json()["champion"] == first["model"]
    second = end_of_a_training(client, context, dataset)
    found = second["gate"]["comparison"]
    # The same seed, images and settings make the same model.
    assert (found["only_new"], found["only_champion"], found["left_out"]) == (0, 0, 0)
    assert found["knows_champion_training"]
    assert second["gate"]["became_champion"]
    assert first["model"] in second["gate"]["reasons"][0]
