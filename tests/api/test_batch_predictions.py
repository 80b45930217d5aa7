"""``/predictions``: many images asked at once, answered by a worker's job."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from app.config import Settings
from app.context import AppContext
from app.models import Job
from app.services import workers
from tests.api.keys import FIRST, headers_of, make_headers, make_key
from tests.api.test_problems import assert_problem
from tests.clients import local_client
from tests.packaged_models import LABELS
from tests.pictures import make_files, make_legacy_zip, make_zip
from tests.running import all_events, import_pictures, run_queued
from tests.services.rows import read_job
from tests.services.served_models import MakeArtifact, add_served_model
from tests.services.test_workers import new_worker
from tests.waiting import wait_for

FILES = make_files(4)
BROKEN = {**FILES, "red/broken.png": FILES["red/red_000.png"][:60]}
NOT_IMAGES = {"notes.txt": b"text", "data.bin": b"\0\1", ".hidden": b"x"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_key": SecretStr("s3cret"), "checkpoint_seconds": 1e-6})


@pytest.fixture
def client(context: AppContext, make_artifact: MakeArtifact) -> Iterator[TestClient]:
    """With a champion of the product `squares`, asked with the first key."""
    add_served_model(context, make_artifact, alias="champion")
    with local_client(context.settings, raise_server_exceptions=False) as client:
        client.headers.update(FIRST)
        yield client


def send(client: TestClient, archive: bytes, name: str = "new.zip", **fields: Any) -> Any:
    headers = fields.pop("headers", {})
    return client.post(
        "/predictions",
        files={"file": (name, archive)},
        data={"product": "squares", **fields},
        headers=headers,
    )


def predict(client: TestClient, context: AppContext, archive: bytes, **fields: Any) -> dict[str, Any]:
    """A batch at its end."""
    answer = send(client, archive, **fields)
    assert answer.status_code == 202, answer.text
    run_queued(context)
    batch: dict[str, Any] = client.get(answer.headers["location"]).raise_for_status().json()
    return batch


def lines_of(client: TestClient, batch: dict[str, Any], path: str = "results") -> list[dict[str, Any]]:
    answer = client.get(f"/predictions/{batch['id']}/{path}").raise_for_status()
    assert answer.headers["content-type"] == "application/jsonl"
    return [json.loads(line) for line in answer.text.splitlines()]


def make_tar(files: dict[str, bytes], mode: str = "w") -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return output.getvalue()


def test_each_image_of_an_archive_is_answered_as_predict_answers_it(
    client: TestClient, context: AppContext
) -> None:
    batch = predict(client, context, make_zip(FILES), top_k="2")
    assert (batch["status"], batch["images"], batch["errors"], batch["skipped"]) == ("succeeded", 12, 0, 0)
    assert batch["source"] == "new.zip"
    rejected = sum(line["decision"] == "reject" for line in lines_of(client, batch))
    assert batch["rejected"] == rejected
    [today] = client.get(f"/products/{batch['product']}/prediction-counts?days=1").json()["data"]
    assert (today["images"], today["answered"], today["rejected"]) == (12, 12, rejected)
    assert batch["progress"]["done"] == batch["progress"]["total"] == 12
    lines = lines_of(client, batch)
    assert [line["name"] for line in lines] == list(FILES)
    for line in lines:
        answer = client.post(
            "/predict?product=squares&top_k=2",
            content=FILES[line["name"]],
            headers={"content-type": "image/png"},
        ).json()
        assert line["predictions"] == answer["predictions"]
        assert (line["label"], line["probability"]) == (answer["top"]["label"], answer["top"]["probability"])
        assert line["model"] == answer["model"]["id"]
        assert {**line["image"], "sha256": line["sha256"]} == answer["image"]
        assert line["warnings"] == answer["warnings"]
    assert batch["model"] == client.post("/predict?product=squares", content=FILES["red/red_000.png"],
                                         headers={"content-type": "image/png"}).json()["model"]  # fmt: skip


def test_the_table_has_the_same_32_bit_numbers_and_no_formulas(
    client: TestClient, context: AppContext
) -> None:
    batch = predict(client, context, make_zip({"=1+1.png": FILES["red/red_000.png"], **BROKEN}), top_k="3")
    answer = client.get(f"/predictions/{batch['id']}/results?format=csv")
    assert answer.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    lines = lines_of(client, batch)
    assert [row["name"] for row in rows] == ["'=1+1.png", *(line["name"] for line in lines[1:])]
    for row, line in zip(rows, lines, strict=True):
        assert (row["sha256"], row["model"]) == (line["sha256"], line["model"])
        assert row["label"] == (line["label"] or "")
        assert row["error"] == (line["error"]["detail"] if line["error"] else "")
        if not line["error"]:
            shown = [row["probability"], row["probability_2"], row["probability_3"]]
            exact = [entry["probability"] for entry in line["predictions"]]
            assert np.array_equal(np.array(shown, np.float32), np.array(exact, np.float32))


def test_a_broken_image_is_a_line_and_what_is_no_image_is_listed(
    client: TestClient, context: AppContext
) -> None:
    batch = predict(client, context, make_zip({**NOT_IMAGES, **BROKEN}))
    assert (batch["images"], batch["errors"], batch["skipped"]) == (13, 1, 3)
    [broken] = [line for line in lines_of(client, batch) if line["error"]]
    assert broken["name"] == "red/broken.png"
    assert broken["error"]["code"] == "undecodable_image"
    assert (broken["label"], broken["predictions"]) == (None, [])
    assert {file["name"] for file in batch["skipped_files"]} == set(NOT_IMAGES)
    assert lines_of(client, batch, "skipped") == batch["skipped_files"]


def test_a_dataset_is_answered_in_the_order_of_its_items(client: TestClient, context: AppContext) -> None:
    dataset = import_pictures(client, context, "squares-2", FILES)
    refused = client.post("/predictions", json={"dataset": dataset, "product": "squares"})
    assert assert_problem(refused, 422)["errors"][0]["pointer"] == "/dataset"
    with context.db.write() as session:
        session.get_one(Job, read_job_of(client, dataset)).product_id = "squares"
        session.connection().exec_driver_sql(f"UPDATE datasets SET product_id='squares' WHERE id='{dataset}'")
    answer = client.post("/predictions", json={"dataset": dataset, "product": "squares", "top_k": 1})
    assert answer.status_code == 202, answer.text
    run_queued(context)
    batch = client.get(answer.headers["location"]).json()
    items = client.get(f"/datasets/{dataset}/items").json()["data"]
    lines = lines_of(client, batch)
    assert [(line["name"], line["sha256"]) for line in lines] == [
        (item["name"], item["sha256"]) for item in items
    ]
    assert {line["label"] for line in lines} == set(LABELS)
    assert all(len(line["predictions"]) == 1 for line in lines)


def read_job_of(client: TestClient, dataset: str) -> str:
    job: str = client.get(f"/datasets/{dataset}").json()["job"]
    return job


def test_all_is_answered_by_the_model_of_the_moment_that_it_was_accepted(
    client: TestClient, context: AppContext, make_artifact: MakeArtifact
) -> None:
    before = client.get("/products/squares/aliases").json()[0]["model"]
    accepted = send(client, make_zip(FILES)).json()
    after = add_served_model(context, make_artifact, alias="champion")
    named = send(client, make_zip(FILES), product="squares@1").json()
    newest = send(client, make_zip(FILES)).json()
    run_queued(context)
    assert accepted["model"]["alias"] == "champion"
    for batch, model in ((accepted, before), (named, before), (newest, after)):
        assert batch["model"]["id"] == model
        assert {line["model"] for line in lines_of(client, batch)} == {model}


def test_results_come_with_an_etag_and_in_ranges(client: TestClient, context: AppContext) -> None:
    batch = predict(client, context, make_zip(FILES))
    path = f"/predictions/{batch['id']}/results"
    whole = client.get(path)
    part = client.get(path, headers={"range": "bytes=100-199", "if-range": whole.headers["etag"]})
    assert (part.status_code, part.content) == (206, whole.content[100:200])
    changed = client.get(path, headers={"range": "bytes=100-199", "if-range": '"other"'})
    assert (changed.status_code, changed.content) == (200, whole.content)
    assert client.get(path, headers={"range": "bytes=99999999-"}).status_code == 416


def test_before_the_end_there_are_no_results(client: TestClient) -> None:
    batch = send(client, make_zip(FILES)).json()
    assert batch["status"] == "queued"
    for path in ("results", "skipped"):
        problem = assert_problem(client.get(f"/predictions/{batch['id']}/{path}"), 409)
        assert problem["detail"] == "The prediction is queued and has no results."


UNREADABLE = {
    "no image": (make_zip({"a.txt": b"text"}), "bad_archive", "no image in the archive (a.txt"),
    "escape": (make_zip({**FILES, "../escape.png": b"x"}), "unsafe_archive", "../escape.png"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_hostile_or_empty_archive_fails_with_the_reason(
    client: TestClient, context: AppContext, case: str
) -> None:
    archive, code, detail = UNREADABLE[case]
    batch = predict(client, context, archive)
    assert batch["status"] == "failed"
    assert batch["error"]["code"] == code
    assert detail in batch["error"]["detail"]
    assert batch["error"]["hint"]
    assert not list(context.storage.scratch.iterdir()), "the upload is kept although nobody can use it"


def test_names_in_an_old_encoding_are_read_as_they_are_said_to_be(
    client: TestClient, context: AppContext
) -> None:
    archive = make_legacy_zip(
        {f"{name}.png": FILES["red/red_000.png"] for name in ("日本", "ねじ")}, "shift_jis"
    )
    batch = predict(client, context, archive, name_encoding="shift_jis")
    assert [line["name"] for line in lines_of(client, batch)] == ["日本.png", "ねじ.png"]


def test_killed_in_the_middle_it_goes_on_and_the_results_are_the_same_bytes(
    client: TestClient, context: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kills = 2
    files = {**NOT_IMAGES, **make_files(20), "broken.png": b"\x89PNG\r\n\x1a\n"}
    archives = [make_zip(files), make_tar(files, "w:gz")]
    whole = [predict(client, context, archive) for archive in archives]
    monkeypatch.setenv("LOUPE_FAILPOINTS", str(tmp_path / "failpoints"))
    (tmp_path / "failpoints").mkdir()
    for archive, expected in zip(archives, whole, strict=True):
        (tmp_path / "failpoints/predict.image").write_text(("skip\n" * 20 + "kill\n") * kills)
        batch = predict(client, context, archive)
        assert batch["status"] == "succeeded"
        job = client.get(f"/jobs/{batch['id']}").json()
        assert job["attempt"] == kills + 1
        resumed = [e["data"]["step"] for e in all_events(client, batch["id"]) if e["type"] == "resumed"]
        assert len(resumed) == kills
        assert all(step > 0 for step in resumed)
        for path in ("results", "results?format=csv", "skipped"):
            known, again = (client.get(f"/predictions/{one['id']}/{path}") for one in (expected, batch))
            assert known.content == again.content
            assert known.headers["etag"] == again.headers["etag"]
        assert [batch[name] for name in ("images", "errors", "skipped")] == [61, 1, 3]


def test_it_can_be_paused_and_resumed_and_loses_nothing(
    client: TestClient, context: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = make_zip(make_files(20))
    expected = predict(client, context, archive)
    monkeypatch.setenv("LOUPE_FAILPOINTS", str(tmp_path / "failpoints"))
    (tmp_path / "failpoints").mkdir()
    (tmp_path / "failpoints/predict.image").write_text("*sleep 0.1")
    batch = send(client, archive).json()
    with running(context):
        wait_for(lambda: done(client, batch) > 0, 30, "the first images")
        client.post(f"/jobs/{batch['id']}/pause").raise_for_status()
    assert client.get(f"/predictions/{batch['id']}").json()["status"] == "paused"
    (tmp_path / "failpoints/predict.image").unlink()
    client.post(f"/jobs/{batch['id']}/resume").raise_for_status()
    run_queued(context)
    known, again = (client.get(f"/predictions/{one['id']}/results") for one in (expected, batch))
    assert known.content == again.content


def test_a_cancelled_one_ends_at_once_and_a_deleted_one_leaves_no_file(
    client: TestClient, context: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = predict(client, context, make_zip(FILES))
    monkeypatch.setenv("LOUPE_FAILPOINTS", str(tmp_path / "failpoints"))
    (tmp_path / "failpoints").mkdir()
    (tmp_path / "failpoints/predict.image").write_text("*sleep 0.2")
    batch = send(client, make_zip(make_files(20))).json()
    with running(context):
        wait_for(lambda: done(client, batch) > 0, 30, "the first images")
        client.post(f"/jobs/{batch['id']}/cancel").raise_for_status()
    shown = client.get(f"/predictions/{batch['id']}").json()
    assert shown["status"] == "cancelled"
    assert shown["progress"]["images_per_second"] > 0
    assert shown["progress"]["eta_seconds"] > 0
    assert not list(context.storage.scratch.iterdir())
    for one in (batch, finished):
        assert client.delete(f"/jobs/{one['id']}").status_code == 204
        assert client.get(f"/predictions/{one['id']}").status_code == 404
        assert not context.storage.job(one["id"]).exists()


class running:
    """Runs the oldest queued job in a thread; at the end of the block it has ended."""

    def __init__(self, context: AppContext) -> None:
        self._thread = threading.Thread(target=run_queued, args=(context,))

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._thread.join(60)
        assert not self._thread.is_alive()


def done(client: TestClient, batch: dict[str, Any]) -> int:
    return client.get(f"/predictions/{batch['id']}").json()["progress"]["done"] or 0


def test_a_model_that_a_batch_waits_for_is_not_deleted(client: TestClient, context: AppContext) -> None:
    batch = send(client, make_zip(FILES), product="squares@1").json()
    with context.db.write() as session:
        session.connection().exec_driver_sql("DELETE FROM aliases")
    trained = client.get(f"/models/{batch['model']['id']}").json()["job"]
    assert assert_problem(client.delete(f"/jobs/{trained}"), 409)["detail"].startswith(f"Job {batch['id']}")
    run_queued(context)
    assert client.delete(f"/jobs/{trained}").status_code == 204
    assert client.get(f"/predictions/{batch['id']}").json()["model"] == batch["model"]


def test_while_an_older_worker_beats_it_is_refused_before_the_archive_is_stored(
    client: TestClient, context: AppContext
) -> None:
    older = new_worker(queue="tasks")
    older.kinds.remove("prediction")
    workers.beat(context, older)
    answers = [
        send(client, make_zip(FILES)),
        client.post("/predictions", json={"dataset": "dst_1", "product": "squares"}),
    ]
    for answer in answers:
        problem = assert_problem(answer, 409)
        assert "older release" in problem["detail"]
        assert "does not know predictions" in problem["detail"]
    assert not list(context.storage.scratch.iterdir())


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"product": "nuts"}, 404),
        ({"product": "squares@7"}, 404),
        ({"product": ""}, 422),
        ({"top_k": "0"}, 422),
        ({"top_k": "many"}, 422),
        ({"name_encoding": "klingon"}, 422),
    ],
)
def test_what_cannot_be_asked_is_refused_and_nothing_is_stored(
    client: TestClient, context: AppContext, fields: dict[str, str], status: int
) -> None:
    assert_problem(send(client, make_zip(FILES), **fields), status)
    assert not list(context.storage.scratch.iterdir())


def test_the_same_key_gets_the_same_batch_once(client: TestClient, context: AppContext) -> None:
    again, archive = {"idempotency-key": "k"}, make_zip(FILES)
    first, second = (send(client, archive, headers=again) for _ in range(2))
    assert first.json() == second.json()
    assert send(client, archive, top_k="1", headers=again).status_code == 422
    assert len(client.get("/jobs?kind=prediction").json()["data"]) == 1
    assert len(list(context.storage.scratch.iterdir())) == 1


def test_keys_see_what_they_may(client: TestClient, context: AppContext) -> None:
    client.post("/products", json={"id": "nuts"}).raise_for_status()
    mine, other, reader, bound = (
        make_headers(client, *scopes, **fields)
        for scopes, fields in (
            (["predict"], {}),
            (["predict"], {}),
            (["read"], {}),
            (["predict", "read"], {"products": ["nuts"]}),
        )
    )
    batch = send(client, make_zip(FILES), headers=mine)
    assert batch.status_code == 202
    path = batch.headers["location"]
    run_queued(context)
    for headers, status in ((mine, 200), (FIRST, 200), (other, 404), (reader, 403), (bound, 404)):
        assert client.get(path, headers=headers).status_code == status
        assert client.get(f"{path}/results", headers=headers).status_code == status
    assert send(client, make_zip(FILES), headers=bound).status_code == 404
    assert send(client, make_zip(FILES), headers=reader).status_code == 403
    body = {"dataset": "dst_1", "product": "squares"}
    problem = assert_problem(client.post("/predictions", json=body, headers=mine), 403)
    assert "needs read" in problem["detail"]


def test_the_limits_of_keys_hold(client: TestClient, context: AppContext) -> None:
    archive = make_zip(FILES)
    small = make_headers(client, "predict", limits={"upload_bytes_per_day": len(archive) // 2})
    assert assert_problem(send(client, archive, headers=small), 429)["code"] == "limit_reached"
    one = make_headers(client, "predict", limits={"concurrent_jobs": 1})
    assert send(client, archive, headers=one).status_code == 202
    assert assert_problem(send(client, archive, headers=one), 429)["code"] == "limit_reached"
    run_queued(context)
    assert send(client, archive, headers=one).status_code == 202
    run_queued(context)


def test_a_keys_images_a_minute_hold_for_its_batches(client: TestClient, context: AppContext) -> None:
    slow = make_headers(client, "predict", limits={"predictions_per_minute": 300})
    batch = predict(client, context, make_zip(FILES), headers=slow)
    job = read_job(context, batch["id"])
    assert job.started_at is not None
    assert job.finished_at is not None
    assert (job.finished_at - job.started_at).total_seconds() >= 12 / (300 / 60)


def test_asking_is_recorded_and_looking_is_not(client: TestClient, context: AppContext) -> None:
    key = make_key(client, "predict")
    batch = predict(client, context, make_zip(FILES), headers=headers_of(key))
    client.get(f"/predictions/{batch['id']}", headers=headers_of(key))
    [record] = client.get(f"/audit?key={key['id']}").json()["data"]
    assert record["action"] == "POST /predictions"
    assert record["product"] == "squares"
