"""What an import asks: it fails with the readings, keeps the upload, and a retry takes the choice."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import null, update

from app.context import AppContext
from app.models import Worker
from app.services import workers
from tests.pictures import make_legacy_zip, make_picture, make_zip
from tests.running import run_queued
from tests.services.test_workers import new_worker

SHIFT_JIS = {"表良": "red", "表傷": "green", "裏面": "blue"}
CATS_AND_DOGS = {"猫": "red", "狗": "green"}


@pytest.fixture
def path(client: TestClient) -> str:
    client.post("/products", json={"id": "p"})
    return "/products/p/datasets"


def pictures(folders: dict[str, str]) -> dict[str, bytes]:
    return {
        f"{folder}/{number}.png": make_picture(colour, number)
        for folder, colour in folders.items()
        for number in range(4)
    }


def legacy(folders: dict[str, str], encoding: str) -> bytes:
    return make_legacy_zip(pictures(folders), encoding)


TREE = make_zip(pictures({"animals/cat": "red", "animals/dog": "green", "plants/rose": "blue"}))


def finish(client: TestClient, context: AppContext, answer: Any) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    run_queued(context)
    dataset: dict[str, Any] = client.get(f"/datasets/{answer.json()['id']}").json()
    return dataset


def classes(dataset: dict[str, Any]) -> dict[str, int]:
    return {entry["name"]: entry["count"] for entry in dataset["classes"]}


def test_a_shift_jis_zip_gives_its_three_classes_and_the_report_says_how(
    client: TestClient, context: AppContext, path: str
) -> None:
    dataset = finish(client, context, client.post(path, files={"file": legacy(SHIFT_JIS, "cp932")}))
    assert classes(dataset) == dict.fromkeys(SHIFT_JIS, 4)
    report = client.get(f"/datasets/{dataset['id']}/report").json()
    assert report["name_encoding"] == "cp932"
    assert any("cp932" in advice for advice in report["advice"])


@pytest.mark.parametrize(
    ("archive", "choice", "expected"),
    [
        (legacy(CATS_AND_DOGS, "gb18030"), {"name_encoding": "gbk"}, set(CATS_AND_DOGS)),
        (TREE, {"class_level": "leaf"}, {"cat", "dog", "rose"}),
        (TREE, {"class_level": "top"}, {"animals", "plants"}),
        (TREE, {"class_level": "path"}, {"animals/cat", "animals/dog", "plants/rose"}),
    ],
)
def test_an_import_that_asks_keeps_its_upload_and_a_retry_takes_the_choice(
    client: TestClient,
    context: AppContext,
    path: str,
    archive: bytes,
    choice: dict[str, str],
    expected: set[str],
) -> None:
    dataset = finish(client, context, client.post(path, files={"file": archive}))
    error = dataset["error"]
    assert (dataset["status"], error["code"], error["status"]) == ("failed", "choice_needed", 422)
    assert not error["retryable"]
    assert len(error["errors"]) >= 2
    assert {entry["pointer"] for entry in error["errors"]} == {f"/{next(iter(choice))}"}
    assert len(list(context.storage.scratch.iterdir())) == 1, "the upload is kept"
    retried = client.post(f"/jobs/{dataset['job']}/retry", json={"start": "checkpoint", **choice})
    assert retried.status_code == 202, retried.text
    run_queued(context)
    dataset = client.get(f"/datasets/{dataset['id']}").json()
    assert (dataset["status"], set(classes(dataset))) == ("ready", expected)
    assert list(context.storage.scratch.iterdir()) == []


@pytest.mark.parametrize("way", ["form", "body"])
def test_choices_are_taken_with_the_upload(
    client: TestClient, context: AppContext, path: str, way: str
) -> None:
    archive, choices = legacy(CATS_AND_DOGS, "gb18030"), {"name_encoding": "GBK"}
    if way == "form":
        answer = client.post(path, files={"file": archive}, data=choices)
    else:
        headers = {"content-type": "application/zip"}
        answer = client.post(path, content=archive, params=choices, headers=headers)
    assert set(classes(finish(client, context, answer))) == set(CATS_AND_DOGS)


@pytest.mark.parametrize("way", ["form", "json", "retry"])
def test_an_unknown_encoding_is_a_422_that_lists_the_known_ones(
    client: TestClient, context: AppContext, path: str, way: str
) -> None:
    wrong = {"name_encoding": "klingon"}
    if way == "form":
        answer = client.post(path, files={"file": TREE}, data=wrong)
    elif way == "json":
        answer = client.post(path, json={"path": "/data", **wrong})
    else:
        job = finish(client, context, client.post(path, files={"file": TREE}))["job"]
        answer = client.post(f"/jobs/{job}/retry", json=wrong)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/name_encoding"
    assert "cp932" in json.dumps(answer.json()["errors"])


@pytest.mark.parametrize("way", ["import", "retry"])
def test_a_worker_of_the_first_release_would_ignore_a_choice_so_it_is_refused(
    client: TestClient, context: AppContext, path: str, way: str
) -> None:
    dataset = finish(client, context, client.post(path, files={"file": TREE}))
    workers.beat(context, new_worker(queue="tasks"))
    with context.db.write() as session:
        session.execute(update(Worker).values(kinds=null()))
    if way == "import":
        answer = client.post(path, files={"file": TREE}, data={"class_level": "leaf"})
    else:
        answer = client.post(f"/jobs/{dataset['job']}/retry", json={"class_level": "leaf"})
    assert answer.status_code == 409
    assert "does not know class_level" in answer.json()["detail"]


def test_a_strict_import_fails_with_every_odd_file(
    client: TestClient, context: AppContext, path: str
) -> None:
    archive = make_zip({**pictures(CATS_AND_DOGS), "\u732b/a\tb.png": b"x", "\u732b/c\nd.png": b"x"})
    lax = finish(client, context, client.post(path, files={"file": archive}))
    assert (lax["status"], lax["items"], lax["skipped"]) == ("ready", 8, 2)
    strict = finish(client, context, client.post(path, files={"file": archive}, data={"strict": "true"}))
    assert strict["status"] == "failed"
    assert strict["error"]["code"] == "not_as_it_is"
    assert {error["pointer"] for error in strict["error"]["errors"]} == {"猫/a%09b.png", "猫/c%0Ad.png"}
