"""``loupe model`` and the end of ``loupe train``: models that passed their gate and models that did not."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest

from app.artifacts import Transfer
from tests.cli.answers import answer_everything
from tests.cli.conftest import Answer, Received, Run, Server, as_json, as_problem

ACCURACY = {"value": 0.5, "low": 0.4, "high": 0.6}
METRICS = {
    "accuracy": ACCURACY,
    "balanced_accuracy": ACCURACY,
    "macro_f1": ACCURACY,
    "top_k": {"k": 2, "value": 1.0},
}
MODEL = {
    "id": "mdl_1", "product": "screws", "version": 3, "job": "job_1", "dataset": "dst_1",
    "network": "tiny_cnn", "labels": ["a", "b"], "aliases": [], "passed_gate": False, "digest": "d",
    "weights_sha256": "w", "bytes": 9, "metrics": METRICS, "serving": {},
    "created_at": "2026-01-02T03:04:05.000Z",
}  # fmt: skip
JOB = {
    "id": "job_1", "kind": "training", "status": "succeeded", "stage": None, "stop_reason": "completed",
    "product": "screws", "network": "tiny_cnn", "dataset": {"id": "dst_1"}, "model": "mdl_1", "error": None,
    "waits_for": None, "best": None, "started_at": "2026-01-02T03:04:05.000Z",
    "progress": {"fraction": 1.0, "epoch": None, "epochs": None, "eta_seconds": None},
    "gate": {"passed": False, "became_champion": False, "reasons": ["It is below min_accuracy."]},
}  # fmt: skip


def _answering(model: dict[str, Any], job: dict[str, Any]) -> Any:
    def answer(request: Received) -> Answer:
        path = request.path.partition("?")[0]
        if path == "/models":
            return as_json({"data": [model], "has_more": False, "next_cursor": None})
        if path == "/models/mdl_1":
            return as_json(model)
        if path.endswith("/metrics"):
            return as_json({"test": {**METRICS, "items": 9}})
        if path.endswith("/findings"):
            return as_problem(404, "not_found", "A server of an earlier release has none.")
        if path.endswith("/events"):
            return as_json({"data": [], "has_more": False, "next_cursor": None})
        return as_json(job)

    return answer


@pytest.mark.parametrize(("passed", "word"), [(True, "passed"), (False, "failed")])
def test_the_list_tells_models_that_failed_their_gate(
    loupe: Run, server: Server, passed: bool, word: str
) -> None:
    server.answer = _answering({**MODEL, "passed_gate": passed}, JOB)
    assert word in loupe("model", "list", "--server", server.url).out
    assert word in loupe("model", "show", "mdl_1", "--server", server.url).out


def test_a_training_whose_model_failed_its_gate_ends_with_status_1_and_says_where_the_model_is(
    loupe: Run, server: Server
) -> None:
    server.answer = _answering(MODEL, JOB)
    ended = loupe("job", "follow", "job_1", "--server", server.url)
    assert ended.status == 1
    assert "mdl_1, version 3, kept although it failed its gate" in ended.out
    assert "It is below min_accuracy." in ended.out
    assert "loupe predict screws --model mdl_1 IMAGE…" in ended.err


def test_a_model_that_passed_but_is_worse_than_the_champion_is_a_success(loupe: Run, server: Server) -> None:
    gate = {"passed": True, "became_champion": False, "reasons": ["It is below the champion."]}
    server.answer = _answering({**MODEL, "passed_gate": True}, {**JOB, "gate": gate})
    ended = loupe("job", "follow", "job_1", "--server", server.url)
    assert ended.status == 0
    assert "mdl_1, version 3\n" in ended.out


def test_train_sends_the_rules_of_its_gate(loupe: Run, server: Server) -> None:
    server.answer = answer_everything
    options = ("--min-accuracy", "0", "--on-failure", "discard")
    assert loupe("train", "screws", *options, "--server", server.url).status == 0
    assert b'"gate":{"min_accuracy":0.0,"on_failure":"discard"}' in server.requests[0].body.replace(b" ", b"")


def test_a_model_is_downloaded_under_its_products_name_or_where_one_says(
    loupe: Run, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(request: Received) -> Answer:
        return as_json(MODEL) if "/artifact" not in request.path else (200, "application/zip", b"zipped")

    server.answer = answer
    monkeypatch.chdir(tmp_path)
    ended = loupe("model", "download", "mdl_1", "--server", server.url)
    assert (ended.status, ended.out) == (0, "screws-3.zip: 6 B\n")
    assert (tmp_path / "screws-3.zip").read_bytes() == b"zipped"
    assert server.requests[-1].path == "/models/mdl_1/artifact?format=zip"
    ended = loupe(
        "model", "download", "mdl_1", "--format", "tflite", "-o", "my.model", "--server", server.url
    )
    assert (ended.status, ended.out) == (0, "my.model: 6 B\n")
    assert server.requests[-1].path == "/models/mdl_1/artifact?format=tflite"
    ended = loupe("model", "download", "mdl_1", "-o", tmp_path / "no" / "file", "--server", server.url)
    assert (ended.status, "There is no folder" in ended.err) == (1, True)


def test_a_download_that_is_not_what_the_server_has_leaves_nothing(
    loupe: Run, server: Server, tmp_path: Path
) -> None:
    server.answer = lambda _: (200, "application/zip", b"changed on the way")
    server.headers = {"ETag": f'"{"0" * 64}"'}
    ended = loupe("model", "download", "mdl_1", "-o", tmp_path / "m.zip", "--server", server.url)
    assert (ended.status, "not the one that the server has" in ended.err) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_imported_into_the_product_that_its_zip_names_or_another(
    loupe: Run, server: Server, tmp_path: Path
) -> None:
    def answer(request: Received) -> Answer:
        if request.method == "POST":
            return as_json({**JOB, "kind": "model_import", "status": "queued"}, 202)
        if request.path.startswith("/models/"):
            return as_json(MODEL)
        is_list = request.path.startswith("/jobs/job_1/events")
        return as_json({"data": [], "has_more": False} if is_list else {**JOB, "kind": "model_import"})

    server.answer = answer
    transfer = Transfer(model="m", product="nuts", version=2, artifact_digest="d", probes="p", answers=())
    with zipfile.ZipFile(tmp_path / "m.zip", "w") as archive:
        archive.writestr("transfer.json", transfer.model_dump_json())
    ended = loupe("model", "import", tmp_path / "m.zip", "--server", server.url)
    assert (ended.status, ended.out) == (0, "mdl_1, version 3 of nuts\n")
    assert "loupe promote nuts mdl_1" in ended.err
    [sent] = [request for request in server.requests if request.method == "POST"]
    assert (sent.path, sent.headers["content-type"]) == ("/products/nuts/models", "application/zip")
    assert sent.body == (tmp_path / "m.zip").read_bytes()
    loupe("model", "import", tmp_path / "m.zip", "--product", "bolts", "--no-wait", "--server", server.url)
    assert server.requests[-1].path == "/products/bolts/models"
    (tmp_path / "m.zip").write_bytes(b"no zip")
    ended = loupe("model", "import", tmp_path / "m.zip", "--server", server.url)
    assert (ended.status, "is no zip of a model" in ended.err) == (1, True)


def test_a_form_that_a_worker_makes_is_made_before_it_is_downloaded(
    loupe: Run, server: Server, tmp_path: Path
) -> None:
    def answer(request: Received) -> Answer:
        if "/artifact" in request.path:
            return 200, "application/octet-stream", b"onnx"
        is_list = request.path.startswith("/jobs/job_1/events")
        return as_json({"data": [], "has_more": False} if is_list else JOB)

    server.answer = answer
    target = tmp_path / "m.onnx"
    assert (
        loupe("model", "download", "mdl_1", "--format", "onnx", "-o", target, "--server", server.url).status
        == 0
    )
    assert (server.requests[0].path, server.requests[0].body) == (
        "/models/mdl_1/exports",
        b'{"format":"onnx"}',
    )
    assert target.read_bytes() == b"onnx"
