"""``POST /datasets/{dataset}/versions`` and ``GET /datasets/{dataset}/diff/{other}``."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import null, update

from app.context import AppContext
from app.models import Worker
from app.services import workers
from tests.pictures import make_files, make_picture, make_zip
from tests.running import TINY, import_pictures, run_queued
from tests.services.test_workers import new_worker


@pytest.fixture
def dataset(client: TestClient, context: AppContext) -> str:
    return import_pictures(client, context, "p")


def make_version(client: TestClient, context: AppContext, dataset: str, **wanted: Any) -> dict[str, Any]:
    answer = client.post(f"/datasets/{dataset}/versions", json=wanted)
    assert answer.status_code == 202, answer.text
    assert answer.json()["status"] == "importing"
    run_queued(context)
    made: dict[str, Any] = client.get(answer.headers["location"]).json()
    return made


def items_of(client: TestClient, dataset: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = client.get(f"/datasets/{dataset}/items?limit=100").json()["data"]
    return items


def test_a_version_shares_the_images_and_leaves_the_old_dataset_as_it_is(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    before = items_of(client, dataset)
    archive = make_zip({"grey/1.png": make_picture("red", 77)})
    more = client.post("/products/p/datasets", files={"file": ("more.zip", archive)}).json()["id"]
    run_queued(context)
    stored = sum(path.is_file() for path in context.storage.images.rglob("*"))
    made = make_version(
        client,
        context,
        dataset,
        add=[more],
        remove=["red/red_000.png"],
        relabel={before[0]["id"]: "grey"},
        class_map={"merge": {"cold": ["blue", "green"]}},
    )
    assert made["error"] is None
    assert made["status"] == "ready"
    assert made["based_on"] == dataset
    assert {entry["name"]: entry["count"] for entry in made["classes"]} == {"cold": 23, "grey": 2, "red": 11}
    assert made["items"] == 36
    assert items_of(client, dataset) == before
    assert sum(path.is_file() for path in context.storage.images.rglob("*")) == stored
    report = client.get(f"/datasets/{made['id']}/report").json()
    assert report["changes"] == {"added": 1, "removed": 1, "relabelled": 24, "moved": 0}
    assert client.get(f"/jobs/{made['job']}").json()["kind"] == "revision"


def test_the_differences_are_listed_page_by_page(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    before = items_of(client, dataset)
    made = make_version(client, context, dataset, remove=[item["id"] for item in before[:3]])
    path = f"/datasets/{dataset}/diff/{made['id']}"
    first = client.get(f"{path}?limit=2").json()
    second = client.get(f"{path}?limit=2&after={first['next_cursor']}").json()
    assert first["counts"] == {"added": 0, "removed": 3, "relabelled": 0, "moved": 0}
    assert first["classes"] == [{"name": "blue", "before": 12, "after": 9}]
    assert [each["before"] for each in first["data"] + second["data"]] == [item["id"] for item in before[:3]]
    assert (first["has_more"], second["has_more"]) == (True, False)
    assert client.get(f"{path}?change=added").json()["data"] == []
    back = client.get(f"/datasets/{made['id']}/diff/{dataset}").json()
    assert back["counts"]["added"] == 3
    assert client.get(f"{path}?after=bm9wZQ").status_code == 422
    assert client.get(f"{path}?change=other").status_code == 422
    assert client.get(f"/datasets/{dataset}/diff/dst_none").status_code == 404


def test_a_training_on_a_version_runs_and_its_dataset_cannot_go_while_it_is_made(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    asked = client.post(f"/datasets/{dataset}/versions", json={"remove": ["red/red_000.png"]}).json()
    refused = client.delete(f"/datasets/{dataset}?force=true")
    assert refused.status_code == 409
    assert asked["job"] in refused.text
    run_queued(context)
    client.delete(f"/datasets/{dataset}?force=true").raise_for_status()
    body = {"product": "p", "network": "tiny_cnn", "dataset": asked["id"], "hyperparameters": TINY}
    job = client.post("/jobs", json=body).raise_for_status().json()
    run_queued(context)
    assert client.get(f"/jobs/{job['id']}").json()["status"] == "succeeded"


def test_what_cannot_be_done_fails_the_version_with_its_reason(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    made = make_version(client, context, dataset, remove=["red/none.png"])
    assert made["status"] == "failed"
    assert "'red/none.png'" in made["error"]["detail"]
    assert made["error"]["hint"]
    assert client.post(f"/datasets/{made['id']}/versions", json={"remove": ["x"]}).status_code == 409
    refused = client.post(f"/jobs/{made['job']}/retry", json={"class_level": "leaf"})
    assert refused.status_code == 422
    assert client.post(f"/jobs/{made['job']}/retry", json={}).status_code == 202


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"remove": []},
        {"remove": [""]},
        {"remove": ["a"], "relabel": {"a": "b"}},
        {"relabel": {"a": ""}},
        {"class_map": {"keep": ["red"], "drop": ["blue"]}},
        {"rename": {"a": "b"}},
        {"add": ["dst_none", "dst_none"]},
    ],
)
def test_a_request_that_says_nothing_or_two_things_is_refused(
    client: TestClient, dataset: str, body: dict[str, Any]
) -> None:
    answer = client.post(f"/datasets/{dataset}/versions", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"]


def test_a_dataset_that_joins_is_ready_and_of_the_same_product(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    path = f"/datasets/{dataset}/versions"
    assert client.post(path, json={"add": ["dst_none"]}).status_code == 404
    assert client.post(path, json={"add": [dataset]}).status_code == 422
    other = import_pictures(client, context, "q", make_files(4))
    refused = client.post(path, json={"add": [other]})
    assert refused.status_code == 422
    assert "product 'q'" in refused.json()["detail"]


def test_a_version_is_made_once_for_an_idempotency_key(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    path, body, key = (
        f"/datasets/{dataset}/versions",
        {"remove": ["red/red_000.png"]},
        {"Idempotency-Key": "k"},
    )
    first = client.post(path, json=body, headers=key).json()
    again = client.post(path, json=body, headers=key).json()
    assert first["id"] == again["id"]
    jobs = {folder.name for folder in context.storage.jobs.iterdir()}
    assert sum(name == first["job"] for name in jobs) == 1
    assert len(run_queued(context)) == 1


def test_while_a_worker_of_an_older_release_lives_a_version_is_refused(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    workers.beat(context, new_worker("old", "tasks"))
    with context.db.write() as session:
        session.execute(update(Worker).values(kinds=null()))
    refused = client.post(f"/datasets/{dataset}/versions", json={"remove": ["red/red_000.png"]})
    assert refused.status_code == 409
    assert "new versions of datasets" in refused.json()["detail"]
