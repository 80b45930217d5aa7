"""``split`` of ``POST /datasets/{dataset}/exports``: a division without a training."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import null, update

from app.context import AppContext
from app.models import Worker
from app.services import workers
from tests.pictures import make_files
from tests.running import TINY, import_pictures, run_queued
from tests.services.test_workers import new_worker


def came_split() -> dict[str, bytes]:
    return {f"{'test' if n % 4 == 0 else 'train'}/{name}": data for n, (name, data) in enumerate(files())}


def files() -> list[tuple[str, bytes]]:
    return sorted(make_files().items())


def export(client: TestClient, context: AppContext, dataset: str, **wanted: Any) -> dict[bytes, str]:
    """The folder of each image in the tar, by its content."""
    path = f"/datasets/{dataset}/exports"
    asked = client.post(path, json={"format": "folders", **wanted}).raise_for_status().json()
    run_queued(context)
    answer = client.get(f"{path}/{asked['id']}").raise_for_status()
    with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
        return {tar.extractfile(file).read(): file.name.split("/")[0] for file in tar}  # type: ignore[union-attr]


@pytest.mark.parametrize("pictures", [dict(files()), came_split()], ids=["unsplit", "came split"])
@pytest.mark.parametrize(
    "split", [{"seed": 7}, {"train": 0.6, "valid": 0.2, "test": 0.2}, {"train": 15, "valid": 6, "test": 6}]
)
def test_an_export_is_divided_as_a_training_with_the_same_seed_is(
    client: TestClient, context: AppContext, pictures: dict[str, bytes], split: dict[str, Any]
) -> None:
    dataset = import_pictures(client, context, "p", pictures)
    settings = {**TINY, "seed": 0}
    job = client.post(
        "/jobs", json={"product": "p", "network": "tiny_cnn", "hyperparameters": settings, "split": split}
    ).raise_for_status()
    client.post(f"/jobs/{job.json()['id']}/cancel").raise_for_status()
    drawn = export(client, context, dataset, split=split)
    assert drawn == export(client, context, dataset, job=job.json()["id"])
    assert set(drawn.values()) == {"train", "valid", "test"}


def test_a_split_without_a_seed_is_the_same_each_time(client: TestClient, context: AppContext) -> None:
    dataset = import_pictures(client, context, "p")
    first = export(client, context, dataset, split={})
    assert first == export(client, context, dataset, split={"seed": 0})
    assert first != export(client, context, dataset, split={"seed": 1})
    assert set(export(client, context, dataset).values()) == {"red", "green", "blue"}


def test_without_a_test_split_there_are_two_folders(client: TestClient, context: AppContext) -> None:
    dataset = import_pictures(client, context, "p")
    assert set(export(client, context, dataset, split={"test": 0}).values()) == {"train", "valid"}


@pytest.mark.parametrize(
    ("wanted", "pointer"),
    [
        ({"job": "job_x", "split": {}}, "/split"),
        ({"split": {"train": 0.9, "valid": 0.9, "test": 0.9}}, "/split"),
        ({"split": {"train": -1}}, "/split/train"),
        ({"split": {"shares": 3}}, "/split/shares"),
    ],
)
def test_a_split_that_cannot_be_is_refused(
    client: TestClient, context: AppContext, wanted: dict[str, Any], pointer: str
) -> None:
    dataset = import_pictures(client, context, "p")
    answer = client.post(f"/datasets/{dataset}/exports", json={"format": "folders", **wanted})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_a_class_too_small_for_the_split_fails_the_export_with_its_name(
    client: TestClient, context: AppContext
) -> None:
    dataset = import_pictures(client, context, "p")
    asked = client.post(
        f"/datasets/{dataset}/exports",
        json={"format": "folders", "split": {"train": 1000, "valid": 10, "test": 10}},
    ).json()
    run_queued(context)
    error = client.get(f"/jobs/{asked['id']}").json()["error"]
    assert error["code"] == "split_impossible"
    assert error["hint"]


def test_while_a_worker_of_the_first_release_lives_such_an_export_is_refused(
    client: TestClient, context: AppContext
) -> None:
    dataset = import_pictures(client, context, "p")
    workers.beat(context, new_worker("old", "tasks"))
    with context.db.write() as session:
        session.execute(update(Worker).values(kinds=null()))
    path = f"/datasets/{dataset}/exports"
    refused = client.post(path, json={"format": "folders", "split": {}})
    assert refused.status_code == 409
    assert "split" in refused.json()["detail"]
    assert client.post(path, json={"format": "folders"}).status_code == 202
