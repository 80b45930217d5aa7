"""Models that leave: each file as it is served, whole or in parts, and never a damaged one."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from ai_edge_litert.interpreter import Interpreter

from app.artifacts import ARCHIVE_FILES, REFERENCES, open_artifact
from app.artifacts.probes import make_probes
from app.context import AppContext
from app.models import TrainedModel
from tests.api.test_problems import assert_problem
from tests.conftest import Trained
from tests.running import run_queued


def the_model(trained: Trained) -> dict[str, Any]:
    model: dict[str, Any] = trained.client.get(f"/models?job={trained.job}").json()["data"][0]
    return model


def folder_of(context: AppContext, model_id: str) -> Path:
    with context.db.read() as session:
        return context.storage.absolute(session.get_one(TrainedModel, model_id).folder)


@pytest.mark.parametrize(("wanted", "name"), [("keras", "model.keras"), ("tflite", "model.tflite")])
def test_a_file_of_the_artifact_is_sent_as_it_is(trained: Trained, wanted: str, name: str) -> None:
    model = the_model(trained)
    path = f"/models/{model['id']}/artifact?format={wanted}"
    answer = trained.client.get(path)
    assert answer.status_code == 200
    assert answer.content == (folder_of(trained.context, model["id"]) / name).read_bytes()
    assert answer.headers["etag"] == f'"{hashlib.sha256(answer.content).hexdigest()}"'
    assert answer.headers["content-disposition"] == f'attachment; filename="squares-1.{wanted}"'
    assert "last-modified" not in answer.headers
    rest = trained.client.get(path, headers={"range": "bytes=100-", "if-range": answer.headers["etag"]})
    assert (rest.status_code, rest.content) == (206, answer.content[100:])
    other = trained.client.get(path, headers={"range": "bytes=100-", "if-range": '"another"'})
    assert (other.status_code, other.content) == (200, answer.content)


def test_the_zip_holds_the_artifact_and_what_it_answers_and_is_made_once(trained: Trained) -> None:
    model = the_model(trained)
    path = f"/models/{model['id']}/artifact"
    first, again = trained.client.get(path), trained.client.get(f"{path}?format=zip")
    assert first.content == again.content
    assert first.headers["etag"] == again.headers["etag"] == f'"{hashlib.sha256(first.content).hexdigest()}"'
    assert first.headers["content-disposition"] == 'attachment; filename="squares-1.zip"'
    archive = zipfile.ZipFile(BytesIO(first.content))
    assert tuple(archive.namelist()) == (*ARCHIVE_FILES, REFERENCES)
    assert hashlib.sha256(archive.read("manifest.json")).hexdigest() == model["digest"]
    transfer = json.loads(archive.read("transfer.json"))
    assert transfer["artifact_digest"] == model["digest"]
    answers = np.array(transfer["answers"], np.float32)
    litert = Interpreter(model_content=archive.read("model.tflite"), num_threads=1)
    litert.allocate_tensors()
    for probe, row in zip(make_probes((16, 16)), answers, strict=True):
        litert.set_tensor(litert.get_input_details()[0]["index"], probe[np.newaxis].astype(np.float32))
        litert.invoke()
        assert np.array_equal(litert.get_tensor(litert.get_output_details()[0]["index"])[0], row)
    downloads = folder_of(trained.context, model["id"]).parent / "downloads"
    [kept] = downloads.iterdir()
    kept.write_bytes(b"damaged")
    assert trained.client.get(path).content == first.content


def test_made_up_images_are_the_same_for_ever() -> None:
    """A Loupe that imports makes them again, perhaps years later."""
    probes = make_probes((48, 33))
    assert (probes.shape, str(probes.dtype)) == ((8, 48, 33, 3), "uint8")
    digest = "1790f313127dcbc26d21db95573e2c58f3c3b0c460c6e0f84c744a3c8d8c0198"
    assert hashlib.sha256(probes.tobytes()).hexdigest() == digest


def test_a_damaged_file_is_not_sent(trained: Trained, tmp_path: Path) -> None:
    model = the_model(trained)
    folder = folder_of(trained.context, model["id"])
    shutil.copyfile(folder / "model.keras", tmp_path / "whole")
    data = bytearray((folder / "model.keras").read_bytes())
    data[len(data) // 2] ^= 1
    (folder / "model.keras").write_bytes(data)
    try:
        answer = trained.client.get(f"/models/{model['id']}/artifact?format=keras")
        assert assert_problem(answer, 500)["code"] == "artifact_damaged"
        assert trained.client.get(f"/models/{model['id']}/artifact?format=tflite").status_code == 200
    finally:
        shutil.copyfile(tmp_path / "whole", folder / "model.keras")
    open_artifact(folder)


def test_what_is_not_there_is_a_problem(trained: Trained) -> None:
    assert_problem(trained.client.get("/models/mdl_0/artifact"), 404)
    answer = trained.client.get(f"/models/{the_model(trained)['id']}/artifact?format=pickle")
    assert_problem(answer, 422)


def test_another_form_is_made_once_by_a_worker_and_answers_as_the_served_model(trained: Trained) -> None:
    client, model = trained.client, the_model(trained)
    path, exports = f"/models/{model['id']}/artifact?format=onnx", f"/models/{model['id']}/exports"
    problem = assert_problem(client.get(path), 409)
    assert f"POST {exports}" in problem["hint"]
    answer = client.post(exports, json={"format": "onnx"})
    assert (answer.status_code, answer.json()["kind"]) == (202, "model_export")
    job = answer.json()["id"]
    assert answer.headers["location"] == f"/jobs/{job}"
    assert client.post(exports, json={"format": "onnx"}).json()["id"] == job
    assert job in assert_problem(client.get(path), 409)["detail"]
    assert_problem(client.delete(f"/jobs/{trained.job}"), 409)  # which has the model
    run_queued(trained.context)
    assert client.get(f"/jobs/{job}").json()["error"] is None

    sent = client.get(path)
    assert sent.headers["content-disposition"] == 'attachment; filename="squares-1.onnx"'
    [export] = client.get(f"/models/{model['id']}").json()["exports"]
    assert (export["format"], export["job"]) == ("onnx", job)
    assert export["sha256"] == hashlib.sha256(sent.content).hexdigest() == sent.headers["etag"].strip('"')
    assert export["parity"]["labels_equal"] == export["parity"]["items"] == 8
    archive = zipfile.ZipFile(BytesIO(client.get(f"/models/{model['id']}/artifact").content))
    expected = np.array(json.loads(archive.read("transfer.json"))["answers"], np.float32)
    session = onnxruntime.InferenceSession(sent.content, providers=["CPUExecutionProvider"])
    [answers] = session.run(None, {"image": make_probes((16, 16)).astype(np.float32)})
    assert np.abs(answers - expected).max() < 1e-5
    assert client.post(exports, json={"format": "onnx"}).json()["status"] == "succeeded"

    [made] = (folder_of(trained.context, model["id"]).parent / "exports").iterdir()
    (made / "model.onnx").write_bytes(b"damaged")
    assert job in str(assert_problem(client.get(path), 500)["hint"])
    assert client.delete(f"/jobs/{job}").status_code == 204
    again = client.post(exports, json={"format": "onnx"}).json()["id"]
    assert again != job
    client.post(f"/jobs/{again}/cancel").raise_for_status()
