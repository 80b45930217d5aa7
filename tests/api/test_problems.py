"""One error shape on every path: each route is walked with what it must refuse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.resumable_uploads import PIECE_TYPE
from app.config import Settings
from app.main import create_app
from app.schemas.common import Problem
from tests.api.tensors import as_json
from tests.clients import LOOPBACK, local_client
from tests.conftest import Trained

JSON = {"content-type": "application/json"}


def assert_problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    Problem.model_validate(problem)
    # Clients of the Open Inference Protocol look for `error`.
    own = {"error"} if re.match("(/v1)?/v2(/|$)", answer.request.url.path) else set()
    assert set(problem) == set(Problem.model_fields) | own
    assert problem["status"] == status
    assert problem["type"] == f"/problems/{problem['code']}"
    assert problem["detail"]
    assert "Traceback" not in answer.text
    assert problem["request_id"] == answer.headers["x-request-id"]
    return dict(problem)


def _routes_with_ids() -> Iterator[tuple[str, str]]:
    paths = create_app(Settings(_env_file=None)).openapi()["paths"]
    for path, operations in paths.items():
        for method in operations:
            if "{" in path:
                yield method.upper(), path


@pytest.mark.parametrize(("method", "path"), sorted(_routes_with_ids()))
def test_an_id_that_is_not_there_is_a_404_that_names_it(client: TestClient, method: str, path: str) -> None:
    url = re.sub(r"\{\w+\}", "nothing-here", path)
    # What some cannot do without.
    needed: dict[str, dict[str, Any]] = {
        "exports": {"format": "folders"},
        "versions": {"remove": ["x"]},
        "{name}": {"model": "nothing-here"},
        "{key}": {"limits": {}},
        "infer": as_json(b"x"),
    }
    needed["exports"]["format"] = "onnx" if path.startswith("/models") else "folders"
    content = needed.get(path.rpartition("/")[2], {})
    sent: dict[str, Any] = {"json": content if method in ("POST", "PATCH", "PUT") else None}
    if method == "POST" and path.endswith("/models"):
        sent = {"content": b"x", "headers": {"content-type": "application/zip"}}
    if path.endswith("/similar"):
        sent = {"content": b"x", "headers": {"content-type": "image/png"}}
    if method == "PATCH" and path == "/uploads/{upload}":
        sent = {"content": b"x", "headers": {"content-type": PIECE_TYPE, "upload-offset": "0"}}
    problem = assert_problem(client.request(method, url, **sent), 404)
    assert "nothing-here" in problem["detail"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/products"), ("PATCH", "/products/squares"), ("POST", "/jobs"), ("POST", "/predict")],
)
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'"text"', b'{"made_up": 1}', b"\xff\xfe", b'{"id": NaN}', b"[" * 5000],
)
def test_a_body_that_is_not_the_object_asked_for_is_refused(
    trained: Trained, method: str, path: str, body: bytes
) -> None:
    # What the JSON parser gives up on never reaches the schema and is a plain bad request.
    status = 400 if body.startswith(b"[[") and path != "/predict" else 422
    assert_problem(trained.client.request(method, path, content=body, headers=JSON), status)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/no/such/path", 404),
        ("DELETE", "/predict", 405),
        ("GET", "/products?limit=0", 422),
        ("GET", "/products?limit=101", 422),
        ("GET", "/products?after=%00%ff", 422),
        ("GET", "/jobs?status=sleeping", 422),
        ("GET", "/jobs/x?wait=soon", 422),
        ("POST", "/predict", 415),
        ("POST", "/products/squares/datasets", 415),
    ],
)
def test_what_the_framework_refuses_has_the_same_shape(
    trained: Trained, method: str, path: str, status: int
) -> None:
    assert_problem(trained.client.request(method, path), status)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"network": "resnet5000"}, "resnet50"),
        ({"hyperparameters": {"epoch": 3}}, "epochs"),
        ({"hyperparameters": {"epochs": 0}}, "/hyperparameters/epochs"),
        ({"hyperparameters": {"learning_rate": "fast"}}, "/hyperparameters/learning_rate"),
        ({"hyperparameters": {"optimizer": "magic"}}, "adamw"),
        ({"hyperparameters": {"image_size": 9}}, "/hyperparameters/image_size"),
        ({"hyperparameters": {"image_size": [64, 4]}}, "/hyperparameters"),
        ({"hyperparameters": {"class_weights": {"purple": 2.0}}}, "blue, green, red"),
        ({"split": {"train": 0.5, "valid": 0.1, "test": 0.1}}, "add up to"),
        ({"split": {"train": 30, "valid": 3, "test": 30}}, "images"),
        ({"typo": 1}, "hyperparameters"),
        ({"metadata": {"note": "x" * 2000}}, "/metadata/note"),
    ],
)
def test_a_job_that_cannot_be_is_refused_with_what_is_valid(
    trained: Trained, changes: dict[str, Any], expected: str
) -> None:
    body = {"product": "squares", "network": "mobilenet_v2", **changes}
    answer = trained.client.post("/jobs", json=body)
    assert_problem(answer, 422)
    assert expected in answer.text


def test_a_job_needs_a_dataset_and_an_export_one_that_is_ready(client: TestClient) -> None:
    client.post("/products", json={"id": "screws"})
    assert_problem(client.post("/jobs", json={"product": "screws"}), 409)
    dataset = client.post("/products/screws/datasets", files={"file": ("x.zip", b"PK")}).json()["id"]
    problem = assert_problem(client.post(f"/datasets/{dataset}/exports", json={"format": "folders"}), 409)
    assert "importing" in problem["detail"]


def test_another_products_dataset_is_refused(trained: Trained) -> None:
    trained.client.post("/products", json={"id": "other"})
    answer = trained.client.post("/jobs", json={"product": "other", "dataset": trained.dataset})
    assert "belongs to product 'squares'" in assert_problem(answer, 422)["detail"]


@pytest.mark.parametrize("path", ["/etc", "/nonexistent/../etc/passwd", "relative", "~root"])
def test_an_import_by_path_stays_under_the_allowed_roots(trained: Trained, path: str) -> None:
    answer = trained.client.post("/products/squares/datasets", json={"path": path})
    assert "LOUPE_DATASET_ROOTS" in assert_problem(answer, 422)["hint"]


def test_an_unexpected_fault_is_a_500_without_a_trace(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("app.services.products.get_product", broken)
    answer = client.get("/products/x")
    assert_problem(answer, 500)
    assert "secret detail" not in answer.text


def test_a_full_disk_is_a_507(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    client.post("/products", json={"id": "screws"})
    monkeypatch.setattr("app.api.archives._copy", full)
    answer = client.post("/products/screws/datasets", files={"file": ("x.zip", b"PK")})
    assert_problem(answer, 507)


def test_a_database_that_is_away_is_a_503_with_retry_after(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"})
    with local_client(away, raise_server_exceptions=False) as client:
        answer = client.get("/products")
        assert assert_problem(answer, 503)["retryable"]
        assert answer.headers["retry-after"] == "2"
        assert client.get("/readyz").status_code == 503
        assert client.get("/healthz").status_code == 200


@pytest.mark.usefixtures("context")
def test_bodies_over_the_limit_are_refused_by_length_and_while_they_come(settings: Settings) -> None:
    small = settings.model_copy(update={"max_json_bytes": 1000, "max_predict_bytes": 1000})
    with local_client(small, raise_server_exceptions=False) as client:
        assert_problem(client.post("/products", content=b" " * 2000, headers=JSON), 413)
        chunked = (b" " * 500 for _ in range(10))
        assert_problem(client.post("/products", content=chunked, headers=JSON), 413)


@pytest.mark.usefixtures("context")
def test_with_an_api_key_only_health_and_signing_in_are_open(settings: Settings) -> None:
    guarded = Settings(home=settings.home, api_key="s3cret", _env_file=None)
    app = create_app(guarded)
    with TestClient(app, base_url=LOOPBACK, raise_server_exceptions=False) as client:
        open_paths = {"/healthz": 200, "/readyz": 200, "/session": 422}
        open_paths |= {"/v2/health/live": 200, "/v2/health/ready": 200}
        for path, operations in app.openapi()["paths"].items():
            for method in operations:
                answer = client.request(method.upper(), re.sub(r"\{\w+\}", "x", path))
                if path in open_paths and (method, path) != ("get", "/session"):
                    assert answer.status_code == (204 if method == "delete" else open_paths[path])
                else:
                    assert_problem(answer, 401)
                    assert answer.headers["www-authenticate"] == "Bearer"
        for wrong in ("Bearer wrong", "Basic s3cret", "s3cret", "Bearer s3cret2", "Bearer "):
            assert_problem(client.get("/products", headers={"authorization": wrong}), 401)
        for wrong in ("Bearer schlüssel", "Bearer \xff", "Bearer lp_\xe9_x", "Bearer lp__", "Bearer lp_x"):
            for raw in (wrong.encode("latin-1"), wrong.encode()):
                assert_problem(client.get("/products", headers=[(b"authorization", raw)]), 401)
        assert client.get("/products", headers={"authorization": "Bearer s3cret"}).status_code == 200
