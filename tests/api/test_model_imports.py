"""Models that come: one trained on one Loupe answers on another with the same numbers, or is refused."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.config import Settings
from app.context import AppContext
from app.models import Dataset, Job, TrainedModel
from app.storage.home import Storage
from tests.api.keys import make_headers
from tests.api.opened import opened
from tests.api.test_problems import assert_problem
from tests.conftest import Trained
from tests.pictures import make_files, make_zip
from tests.running import import_pictures, run_queued

Download = tuple[dict[str, Any], bytes]


@pytest.fixture(scope="module")
def download(trained: Trained) -> Download:
    """A model and its zip."""
    model = trained.client.get(f"/models?job={trained.job}").json()["data"][0]
    return model, trained.client.get(f"/models/{model['id']}/artifact").content


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """Another Loupe, with the product ``bolts``, and keys."""
    settings = Settings(home=tmp_path_factory.mktemp("other"), api_key="s3cret", _env_file=None)
    with opened(settings) as client:
        client.headers["authorization"] = "Bearer s3cret"
        client.post("/products", json={"id": "bolts"}).raise_for_status()
        yield client


def context_of(client: TestClient) -> AppContext:
    context: AppContext = client.app.state.context  # type: ignore[attr-defined]
    return context


def send(client: TestClient, archive: bytes, **options: Any) -> Any:
    return client.post("/products/bolts/models", files={"file": ("m.zip", archive)}, **options)


@pytest.fixture(scope="module")
def imported(other: TestClient, download: Download) -> str:
    """The job that has imported the model."""
    answer = send_once(other, download)
    assert answer.status_code == 202
    run_queued(context_of(other))
    return str(answer.json()["id"])


def send_once(client: TestClient, download: Download) -> Any:
    headers = {"content-type": "application/zip", "idempotency-key": "once"}
    return client.post("/products/bolts/models", content=download[1], headers=headers)


def test_a_model_of_another_loupe_answers_with_the_same_numbers_and_is_no_champion(
    trained: Trained, other: TestClient, download: Download, imported: str
) -> None:
    model, job = download[0], imported
    assert send_once(other, download).json()["id"] == job
    ended = other.get(f"/jobs/{job}").json()
    assert (ended["error"], ended["status"], ended["network"]) == (None, "succeeded", "tiny_cnn")
    taken = other.get(f"/models/{ended['model']}").json()
    for same in ("weights_sha256", "labels", "metrics", "network"):
        assert taken[same] == model[same]
    assert (taken["version"], taken["dataset"], taken["aliases"]) == (1, None, [])
    origin = taken["origin"]
    assert (origin["artifact_digest"], origin["model"]) == (model["digest"], model["id"])
    assert (origin["product"], origin["version"]) == ("squares", 1)
    assert taken["serving"]["parity"]["max_probability_difference"] == 0
    [record] = [row for row in other.get("/audit").json()["data"] if job in row["things"]]
    assert record["action"] == "POST /products/{product}/models"

    picture = next(iter(make_files().values()))
    here = trained.client.post("/predict", data={"model": model["id"]}, files={"file": picture}).json()
    there = other.post("/predict", data={"model": taken["id"]}, files={"file": picture}).json()
    assert here["predictions"] == there["predictions"]
    assert other.get("/products/bolts").json()["champion"] is None
    assert list(Storage(context_of(other).settings.home).scratch.iterdir()) == []


def test_an_imported_model_is_evaluated_sent_further_and_deleted_with_all_that_was_made_of_it(
    other: TestClient, download: Download, imported: str
) -> None:
    context = context_of(other)
    [model] = other.get(f"/models?job={imported}").json()["data"]
    dataset = import_pictures(other, context, "bolts2")
    with context.db.write() as session:
        session.get_one(Dataset, dataset).product_id = "bolts"
    problem = assert_problem(other.post(f"/jobs/{model['job']}/evaluations", json={}), 422)
    assert "was tested on another Loupe" in problem["detail"]
    assert_problem(other.get(f"/jobs/{model['job']}/evaluation"), 422)
    other.post(f"/jobs/{model['job']}/evaluations", json={"dataset": dataset}).raise_for_status()
    run_queued(context)
    evaluation = other.get(f"/jobs/{model['job']}/evaluation?dataset={dataset}").json()
    assert (evaluation["subset"], evaluation["model"]) == ("all", model["id"])
    again = other.get(f"/models/{model['id']}/artifact").content
    transfer = json.loads(zipfile.ZipFile(io.BytesIO(again)).read("transfer.json"))
    first = json.loads(zipfile.ZipFile(io.BytesIO(download[1])).read("transfer.json"))
    assert (transfer["product"], transfer["answers"]) == ("bolts", first["answers"])

    alias = "/products/bolts/aliases/canary"
    other.put(alias, json={"model": model["id"]}).raise_for_status()
    assert_problem(other.delete(f"/jobs/{model['job']}"), 409)
    other.delete(alias).raise_for_status()
    folder = context.settings.home / "models" / model["id"]
    assert {path.name for path in folder.iterdir()} == {"0001", "downloads"}
    assert other.delete(f"/jobs/{model['job']}").status_code == 204
    assert not folder.exists()


def test_only_the_scope_admin_may_import_a_model(other: TestClient, download: Download) -> None:
    for scope in ("read", "predict", "write", "promote"):
        headers = make_headers(other, scope)
        assert_problem(send(other, download[1], headers=headers), 403)


def test_what_is_no_model_of_a_loupe_is_refused_and_leaves_nothing(other: TestClient) -> None:
    context = context_of(other)
    with context.db.read() as session:
        before = {model.id for model in session.query(TrainedModel)}
    files = sorted((context.settings.home / "models").iterdir())
    archive = make_zip({"manifest.json": b"{}", "../../evil": b"x"})
    job = send(other, archive).json()["id"]
    run_queued(context)
    ended = other.get(f"/jobs/{job}").json()
    assert (ended["status"], ended["model"], ended["error"]["code"]) == ("failed", None, "unsafe_archive")
    assert "no file of a model's zip" in ended["error"]["detail"]
    with context.db.read() as session:
        assert {model.id for model in session.query(TrainedModel)} == before
        assert session.get_one(Job, job).status == "failed"
    assert sorted((context.settings.home / "models").iterdir()) == files
    assert list((context.settings.home / "scratch").iterdir()) == []
    assert sorted(path.name for path in (context.settings.home / "jobs" / job).iterdir()) == [
        "process-0001.log"
    ]
    assert_problem(other.post(f"/jobs/{job}/retry"), 409)
    assert_problem(other.post("/products/nuts/models", files={"file": ("m.zip", archive)}), 404)
    assert_problem(other.post("/products/bolts/models", json={"path": "/data"}), 415)
