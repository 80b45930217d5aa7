"""The Open Inference Protocol: what its specification promises, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app import __version__
from app.artifacts import open_artifact
from app.images.decode import decode_image
from app.images.resize import Fit, get_rule
from tests.api.tensors import LENGTH, as_json, binary, elements, framed, read
from tests.api.test_problems import JSON, assert_problem
from tests.conftest import Trained
from tests.pictures import make_files, make_picture

INFER = "/v2/models/squares/infer"
RED, BLUE = make_picture("red", 1000, size=60, image_format="JPEG"), make_picture("blue", 1001)
SIDE = 16
"""Of the input of the model that all tests share."""


def model_of(trained: Trained) -> dict[str, Any]:
    (model,) = trained.client.get(f"/models?job={trained.job}").json()["data"]
    return dict(model)


def fit(trained: Trained, *images: bytes) -> NDArray[np.uint8]:
    """The images as training and evaluation see them."""
    folder = trained.context.storage.models / model_of(trained)["id"]
    manifest = open_artifact(next(folder.rglob("manifest.json")).parent).manifest
    rule = Fit(get_rule(manifest.resize_rule), manifest.image_size)
    return np.stack([decode_image(image, fit=rule).pixels for image in images])


def test_the_server_says_what_it_is_and_whether_it_is_ready(trained: Trained) -> None:
    client = trained.client
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"live": True, "ready": True}
    assert client.get("/v2").json() == {
        "name": "loupe",
        "version": __version__,
        "extensions": ["binary_tensor_data", "classification"],
    }


def test_a_model_says_what_it_takes_under_each_of_its_names(trained: Trained) -> None:
    client, model = trained.client, model_of(trained)
    version = str(model["version"])
    metadata = client.get("/v2/models/squares").json()
    assert metadata == {
        "name": "squares",
        "versions": [version],
        "platform": "litert",
        "inputs": [
            {"name": "image", "datatype": "BYTES", "shape": [-1]},
            {"name": "pixels", "datatype": "UINT8", "shape": [-1, SIDE, SIDE, 3]},
        ],
        "outputs": [
            {"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "index", "datatype": "INT64", "shape": [-1]},
        ],
    }
    names = [f"squares/versions/{version}", "squares/versions/champion", model["id"]]
    names.append(f"{model['id']}/versions/{version}")
    for name in names:
        found = client.get(f"/v2/models/{name}").json()
        assert found == {**metadata, "name": name.partition("/")[0]}
        assert client.get(f"/v2/models/{name}/ready").json() == {"name": found["name"], "ready": True}
        assert client.post(f"/v2/models/{name}/infer", json=as_json(RED)).status_code == 200


@pytest.mark.parametrize(
    "name", ["nothing", "squares/versions/99", "squares/versions/night", "ID/versions/9"]
)
def test_a_model_that_there_is_not_is_a_404_on_each_route(trained: Trained, name: str) -> None:
    path = f"/v2/models/{name.replace('ID', model_of(trained)['id'])}"
    for answer in (
        trained.client.get(path),
        trained.client.get(f"{path}/ready"),
        trained.client.post(f"{path}/infer", json=as_json(RED)),
    ):
        problem = assert_problem(answer, 404)
        assert problem["error"] == f"{problem['detail']} {problem['hint']}"


def test_a_product_without_a_champion_is_not_ready(trained: Trained) -> None:
    trained.client.post("/products", json={"id": "empty"})
    assert_problem(trained.client.get("/v2/models/empty/ready"), 409)
    trained.client.delete("/products/empty")


def test_files_in_json_and_in_binary_are_answered_as_predict_answers(trained: Trained) -> None:
    client = trained.client
    body = [("file", ("r", RED)), ("file", ("b", BLUE))]
    predicted = client.post("/predict", files=body, data={"product": "squares"}).json()["results"]
    wanted = np.zeros((2, 3), np.float32)
    for row, item in zip(wanted, predicted, strict=True):
        for entry in item["predictions"]:
            row[entry["index"]] = entry["probability"]
    every: dict[str, Any] = {"parameters": {"binary_data_output": True}}
    for answer in (
        client.post(INFER, json=as_json(RED, BLUE)),
        client.post(INFER, json=as_json(RED, BLUE, **every)),
        client.post(INFER, **binary(elements(RED, BLUE), [2])),
        client.post(INFER, **binary(elements(RED, BLUE), [2, 1], **every)),
        client.post(f"/v1{INFER}", content=json.dumps(as_json(RED, BLUE)).encode()),
    ):
        found = read(answer)
        assert found["probabilities"].dtype == np.float32
        assert found["probabilities"].tobytes() == wanted.tobytes()
        assert found["label"].tolist() == [item["top"]["label"] for item in predicted] == ["red", "blue"]
        assert found["index"].tolist() == [item["top"]["index"] for item in predicted]


def test_pixels_are_answered_with_the_32_bit_numbers_of_the_evaluation(trained: Trained) -> None:
    (file,) = Path(trained.context.settings.home).rglob("probabilities.npy")
    table = trained.client.get(f"/jobs/{trained.job}/evaluation/predictions").text
    files = make_files()
    images = [files[row["name"]] for row in csv.DictReader(table.splitlines())]
    wanted = np.load(file)
    pixels = fit(trained, *images)
    shape = [len(images), SIDE, SIDE, 3]
    assert wanted.dtype == np.float32
    assert len(images) > 3
    floats = pixels.astype("<f4")
    for sent in (
        binary(pixels.tobytes(), shape, "pixels", "UINT8"),
        binary(floats.tobytes(), shape, "pixels", "FP32"),
        binary(elements(*images), [len(images)]),
    ):
        assert read(trained.client.post(INFER, **sent))["probabilities"].tobytes() == wanted.tobytes()
    for kind, data in (("UINT8", pixels[:2].tolist()), ("FP32", floats[:2].ravel().tolist())):
        tensor = {"name": "pixels", "datatype": kind, "shape": [2, *shape[1:]], "data": data}
        found = read(trained.client.post(INFER, json={"inputs": [tensor]}))
        assert found["probabilities"].tobytes() == wanted[:2].tobytes()


def test_the_answer_has_what_was_asked_for_in_its_order_and_the_id(trained: Trained) -> None:
    outputs: list[dict[str, Any]] = [{"name": "index"}, {"name": "label"}]
    answer = trained.client.post(INFER, json=as_json(RED, id="42", outputs=outputs)).json()
    assert [output["name"] for output in answer["outputs"]] == ["index", "label"]
    assert answer["outputs"][0]["data"] == [2]
    assert (answer["id"], answer["model_name"], answer["model_version"]) == ("42", "squares", "1")
    assert "id" not in trained.client.post(INFER, json=as_json(RED)).json()
    outputs = [
        {"name": "label", "parameters": {"binary_data": True}},
        {"name": "probabilities", "parameters": {"binary_data": False, "classification": 2}},
    ]
    body = as_json(RED, BLUE, outputs=outputs, parameters={"binary_data_output": True})
    answer = trained.client.post(INFER, json=body)
    assert answer.headers["content-type"] == "application/octet-stream"
    assert int(answer.headers[LENGTH]) < len(answer.content)
    found = read(answer)
    assert list(found) == ["label", "probabilities"]
    whole = read(trained.client.post(INFER, json=as_json(RED, BLUE)))["probabilities"]
    assert found["probabilities"].shape == (2, 2)
    probability, index, label = found["probabilities"][1, 0].split(":")
    assert (np.float32(probability), index, label) == (whole[1].max(), "0", "blue")


def test_of_several_images_the_bad_one_is_named(trained: Trained) -> None:
    answer = trained.client.post(INFER, json=as_json(RED, b"no image", RED))
    problem = assert_problem(answer, 422)
    assert problem["code"] == "undecodable_image"
    assert problem["detail"].startswith("image 1 of 0 to 2: ")
    assert_problem(trained.client.post(INFER, **binary(elements(b""), [1])), 422)


def tensor(**changes: Any) -> dict[str, Any]:
    one = {"name": "image", "shape": [1], "datatype": "BYTES", "data": ["aaaa"]}
    return {"inputs": [{**one, **changes}]}


def pixels(data: Any, kind: str = "UINT8", shape: list[int] | None = None) -> dict[str, Any]:
    return tensor(name="pixels", datatype=kind, shape=shape or [1, SIDE, SIDE, 3], data=data)


FULL = [0] * (SIDE * SIDE * 3)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"inputs": []}, "/inputs"),
        ({"inputs": [*tensor()["inputs"], *pixels(FULL)["inputs"]]}, "/inputs"),
        (tensor(name="input_1"), "/inputs/0/name"),
        (tensor(datatype="FP16"), "/inputs/0/datatype"),
        (tensor(datatype="UINT8"), "/inputs/0/datatype"),
        (tensor(shape=[]), "/inputs/0/shape"),
        (tensor(shape=[0], data=[]), "/inputs/0/shape"),
        (tensor(shape=[-1]), "/inputs/0/shape/0"),
        (tensor(shape=[True]), "/inputs/0/shape/0"),
        (tensor(shape=[1.5]), "/inputs/0/shape/0"),
        (tensor(shape=[2**64]), "/inputs/0/shape/0"),
        (tensor(shape=[1, 2]), "/inputs/0/shape"),
        (tensor(shape=[1, 1, 1]), "/inputs/0/shape"),
        (tensor(shape=[2]), "/inputs/0/data"),
        (tensor(data=[["aaaa"]]), "/inputs/0/data"),
        (tensor(data=[5]), "/inputs/0/data/0"),
        (tensor(data=["*"]), "/inputs/0/data/0"),
        (tensor(data=None), "/inputs/0"),
        (tensor(parameters={"binary_data_size": 0}), "/inputs/0"),
        (tensor(parameters={"shared_memory_region": "x"}), "/inputs/0/parameters/shared_memory_region"),
        (tensor(data=None, parameters={"binary_data_size": 7}), "/inputs/0/parameters/binary_data_size"),
        (pixels([0]), "/inputs/0/data"),
        (pixels([FULL, FULL]), "/inputs/0/data"),
        (pixels([[FULL[:-1], [0]]]), "/inputs/0/data"),
        (pixels([[0, FULL]]), "/inputs/0/data"),
        (pixels([256, *FULL[1:]]), "/inputs/0/data"),
        (pixels([-1, *FULL[1:]]), "/inputs/0/data"),
        (pixels([0.0, *FULL[1:]]), "/inputs/0/data"),
        (pixels([True, *FULL[1:]]), "/inputs/0/data"),
        (pixels(["0", *FULL[1:]]), "/inputs/0/data"),
        (pixels([255.5, *FULL[1:]], "FP32"), "/inputs/0/data"),
        (pixels([float("nan"), *FULL[1:]], "FP32"), "/inputs/0/data"),
        (pixels([float("inf"), *FULL[1:]], "FP32"), "/inputs/0/data"),
        (pixels([10**400, *FULL[1:]], "FP32"), "/inputs/0/data"),
        (pixels([], shape=[1, 0, SIDE, 3]), "/inputs/0/shape"),
        (pixels(FULL, shape=[1, SIDE, SIDE * 3, 1]), "/inputs/0/shape"),
        (pixels(FULL, shape=[SIDE, SIDE, 3]), "/inputs/0/shape"),
        (pixels(FULL, shape=[1, SIDE * 2, SIDE // 2, 3]), "/inputs/0/shape"),
        (pixels(None, shape=[1, 2**31 - 1, 2**31 - 1, 3]), "/inputs/0"),
        ({**tensor(), "outputs": [{"name": "logits"}]}, "/outputs/0/name"),
        ({**tensor(), "outputs": [{"name": "label"}, {"name": "label"}]}, "/outputs/1/name"),
        (
            {**tensor(), "outputs": [{"name": "label", "parameters": {"classification": 1}}]},
            "/outputs/0/parameters/classification",
        ),
        (
            {**tensor(), "outputs": [{"name": "probabilities", "parameters": {"classification": 0}}]},
            "/outputs/0/parameters/classification",
        ),
        ({**tensor(), "parameters": {"priority": 1}}, "/parameters/priority"),
        ({**tensor(), "parameters": {"timeout": 0}}, "/parameters/timeout"),
        ({**tensor(), "parameters": {"timeout": 10**12}}, "/parameters/timeout"),
        ({**tensor(), "id": 5}, "/id"),
    ],
)
def test_a_request_that_makes_no_sense_is_a_422_that_names_the_place(
    trained: Trained, body: dict[str, Any], pointer: str
) -> None:
    answer = trained.client.post(INFER, content=json.dumps(body).encode(), headers=JSON)
    problem = assert_problem(answer, 422)
    assert pointer in [error["pointer"] for error in problem["errors"]], problem
    assert problem["error"].startswith(problem["detail"])


HEAD = tensor(data=None, parameters={"binary_data_size": 8})
ONE_IMAGE = SIDE * SIDE * 3


@pytest.mark.parametrize(
    "sent",
    [
        framed(HEAD, b""),
        framed(HEAD, b"\1\0\0\0a"),
        framed(HEAD, b"\1\0\0\0aaaa"),
        framed(HEAD, b"\xff\xff\xff\xffaaaa"),
        framed(HEAD, b"\5\0\0\0aaaa"),
        framed({**tensor(), "id": "more"}, b"12345678"),
        binary(b"\0\0", [1]),
        binary(elements(b"a"), [2]),
        binary(bytes(ONE_IMAGE - 1), [1, SIDE, SIDE, 3], "pixels", "UINT8"),
        binary(bytes(ONE_IMAGE), [1, SIDE, SIDE, 3], "pixels", "FP32"),
        binary(bytes(ONE_IMAGE), [64, 2**31 - 1, 2**31 - 1, 3], "pixels", "UINT8"),
        binary(b"\0\0\xc0\x7f" * ONE_IMAGE, [1, SIDE, SIDE, 3], "pixels", "FP32"),
        binary(b"\0\0\x80\x7f" * ONE_IMAGE, [1, SIDE, SIDE, 3], "pixels", "FP32"),
        binary(b"\0\0\x80\xbf" * ONE_IMAGE, [1, SIDE, SIDE, 3], "pixels", "FP32"),
        binary(bytes(64 * 64 * 3), [1, 64, 64, 3], "pixels", "UINT8"),
        *({"content": b"{}", "headers": {LENGTH: length}} for length in ("0", "3", "-1", "x", "9" * 5000)),
        {"content": b"\x89PNG\r\n\x1a\n", "headers": {}},
        {"content": b"", "headers": {}},
    ],
)
def test_a_binary_tensor_that_is_not_what_it_states_is_refused(
    trained: Trained, sent: dict[str, Any]
) -> None:
    problem = assert_problem(trained.client.post(INFER, **sent), 422)
    assert problem["error"].startswith(problem["detail"])


def test_more_images_values_and_json_than_a_request_may_hold_are_413(trained: Trained) -> None:
    settings = trained.context.settings
    many = [b""] * (settings.max_predict_files + 1)
    long = framed({**HEAD, "id": "x" * settings.max_json_bytes}, bytes(8))
    for sent in (
        binary(elements(*many), [len(many)]),
        binary(b"", [2**31 - 1]),
        {"json": as_json(*many)},
        {"json": pixels([0] * 30_000, shape=[1, 100, 100, 3])},
        long,
    ):
        assert_problem(trained.client.post(INFER, **sent), 413)


@pytest.mark.parametrize("kind", ["multipart/form-data", "image/png", "application/x-www-form-urlencoded"])
def test_another_content_type_is_a_415(trained: Trained, kind: str) -> None:
    problem = assert_problem(trained.client.post(INFER, content=RED, headers={"content-type": kind}), 415)
    assert "application/octet-stream" in problem["error"]


def test_what_stands_outside_of_every_route_is_answered_in_the_protocols_words(trained: Trained) -> None:
    for answer in (trained.client.get("/v2/repository/index"), trained.client.put("/v2")):
        assert answer.json()["error"].startswith(answer.json()["detail"])
    assert "error" not in trained.client.get("/nothing").json()
