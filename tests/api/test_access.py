"""Every route asks for its scope, and shows a key that is bound to a product no other: all are walked"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from sqlalchemy import update

from app.api import pages
from app.api.prediction_routes import PREDICTION_ROUTES
from app.api.resumable_uploads import PIECE_TYPE
from app.api.routes import CheckedRoute
from app.api.scopes import NEEDS, Need
from app.config import Settings
from app.context import AppContext
from app.main import RESOURCES
from app.models import Job, Worker
from app.models.base import utc_now
from app.schemas.scopes import SCOPES, with_implied
from tests.api.keys import FIRST, make_headers
from tests.api.opened import opened
from tests.api.operations import GUARDED, OPERATIONS, Operation
from tests.api.tensors import as_json
from tests.api.test_problems import JSON, assert_problem
from tests.models.test_product_limits import add_one_of_each

every_guarded = pytest.mark.parametrize("operation", GUARDED, ids=str)
THEIRS = {
    "product": "theirs",
    "dataset": "dst_theirs",
    "other": "dst_theirs",
    "job": "job_theirs",
    "model": "mdl_theirs",
    "sweep": "swp_theirs",
    "name": "champion",
    "item": "x",
    "version": "1",
    "upload": "upl_theirs",
}
BODIES: dict[str, Any] = {
    "/datasets/{dataset}/versions": {"remove": ["x"]},
    "/datasets/{dataset}/exports": {"format": "folders"},
    "/models/{model}/exports": {"format": "onnx"},
    "/products/{product}/aliases/{name}": {"model": "mdl_theirs"},
    "/products/{product}/datasets": {"path": "/data"},
    **dict.fromkeys(PREDICTION_ROUTES[1:], as_json(b"x")),
}


def need_of(operation: Operation) -> Need:
    need = NEEDS[operation.method, operation.path]
    assert need is not None
    return need


def ask(client: TestClient, operation: Operation, path: str, headers: dict[str, str]) -> Any:
    body: dict[str, Any] = {"content": b"{}", "headers": {**JSON, **headers}} if operation.content else {}
    return client.request(operation.method, path, **{"headers": headers, **body})


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """An API that asks for keys, with the products ``mine`` and ``theirs``."""
    settings = Settings(home=tmp_path_factory.mktemp("access"), api_key="s3cret", _env_file=None)
    with opened(settings) as client:
        context: AppContext = client.app.state.context  # type: ignore[attr-defined]
        with context.db.write() as session:
            for product in ("mine", "theirs"):
                add_one_of_each(session, product)
            session.add(
                Worker(
                    id="wrk_1", owner="box", host="box", pid=1, queue="training", concurrency=2, version="1",
                    devices={"cpu_cores": 2, "memory_bytes": 1, "gpus": []}, beat_at=0.0,
                    started_at=utc_now(),
                )
            )  # fmt: skip
            session.execute(update(Job).values(lease_owner="box"))
        yield client


@pytest.fixture(scope="module")
def headers(client: TestClient) -> dict[str, dict[str, str]]:
    """A key of each scope."""
    return {scope: make_headers(client, scope) for scope in SCOPES}


@pytest.fixture(scope="module")
def bound(client: TestClient) -> dict[str, str]:
    """A key with all that a key of one product can have."""
    return make_headers(client, "write", "predict", "promote", products=["mine"])


def test_every_route_is_in_the_table_and_the_table_has_no_other() -> None:
    assert {(operation.method, operation.path) for operation in OPERATIONS} == set(NEEDS)
    for resource in RESOURCES:
        for route in resource.router.routes:
            assert isinstance(route, CheckedRoute) or not isinstance(route, APIRoute), route
    assert {getattr(route, "path", "") for route in pages.router.routes} == {
        "/",
        "/docs",
        "/redoc",
        "/openapi.json",
        "/docs/assets/{name}",
    }


def test_a_route_that_is_not_in_the_table_cannot_be_made() -> None:
    with pytest.raises(LookupError, match=r"GET /made-up"):
        CheckedRoute("/made-up", lambda: None, methods=["GET"])


def test_the_document_says_what_each_route_needs() -> None:
    for operation in OPERATIONS:
        need = NEEDS[operation.method, operation.path]
        scopes = [] if need is None or need.scope is None else [need.scope]
        roles = [] if need is None else [scopes, scopes]
        assert [next(iter(one.values())) for one in operation.security] == roles, str(operation)


@pytest.mark.parametrize("operation", [one for one in GUARDED if need_of(one).scope], ids=str)
@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_a_key_without_the_scope_is_a_403_whether_the_thing_exists_or_not(
    client: TestClient, headers: dict[str, dict[str, str]], operation: Operation, prefix: str
) -> None:
    need = need_of(operation)
    paths = [prefix + re.sub(r"\{(\w+)\}", lambda found: THEIRS.get(found[1], "x"), operation.path)]
    paths.append(prefix + operation.url_with("nothing-here"))
    for scope in SCOPES:
        answers = [ask(client, operation, path + "?made_up=1", headers[scope]) for path in paths]
        if need.scope in with_implied([scope]):
            # It came further: what is asked of it is looked at.
            assert [answer.status_code for answer in answers] == [422, 422]
            continue
        problems = [assert_problem(answer, 403) for answer in answers]
        assert {problem["code"] for problem in problems} == {"forbidden"}
        assert f"needs {need.scope}" in problems[0]["detail"]
        assert problems[0]["detail"] == problems[1]["detail"]


@every_guarded
@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_without_a_key_each_is_a_401(client: TestClient, operation: Operation, prefix: str) -> None:
    for wrong in ({}, {"authorization": "Bearer lp_aaaaaaaa_b"}, {"cookie": "loupe_session=x"}):
        page = {"sec-fetch-site": "same-origin"}
        answer = ask(client, operation, prefix + operation.url_with("nothing-here"), {**wrong, **page})
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("operation", [one for one in GUARDED if "{" in one.path], ids=str)
@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_what_another_product_has_is_as_if_it_was_not_there(
    client: TestClient, bound: dict[str, str], operation: Operation, prefix: str
) -> None:
    if need_of(operation).scope == "admin" or "/networks" in operation.path:
        return
    body: dict[str, Any] = {"json": BODIES.get(operation.path, {})} if operation.content else {}
    if operation.content and "application/json" not in operation.content:
        body = {"files": {"file": ("a.png", b"x")}}
    headers = bound
    if PIECE_TYPE in operation.content:
        body, headers = {"content": b"x"}, {**bound, "content-type": PIECE_TYPE, "upload-offset": "0"}

    def ask_for(names: dict[str, str]) -> dict[str, Any]:
        path = prefix + re.sub(r"\{(\w+)\}", lambda found: names[found[1]], operation.path)
        problem = assert_problem(client.request(operation.method, path, headers=headers, **body), 404)
        del problem["request_id"], problem["instance"]
        return problem

    theirs = str(ask_for(THEIRS))
    # Ids of things that there never were, as long as the others.
    nothing = str(ask_for({name: value.replace("theirs", "absent") for name, value in THEIRS.items()}))
    assert theirs == nothing.replace("absent", "theirs")


@every_guarded
def test_no_list_and_no_filter_shows_another_product(
    client: TestClient, bound: dict[str, str], operation: Operation
) -> None:
    if operation.method != "GET" or "{" in operation.path or need_of(operation).scope == "admin":
        return
    names = [name for name in ("product", "job") if name in operation.queries]
    for query in ("", *(f"?{name}={THEIRS[name]}" for name in names)):
        answer = client.get(operation.path + query, headers=bound)
        assert answer.status_code in (200, 403)
        if "/networks" not in operation.path:
            assert "theirs" not in answer.text.replace(query, "")


def test_a_worker_is_shown_with_the_jobs_of_the_product_alone(
    client: TestClient, bound: dict[str, str]
) -> None:
    for headers, products in ((FIRST, ["mine", "theirs"]), (bound, ["mine"])):
        (worker,) = client.get("/workers", headers=headers).json()["data"]
        assert [job["product"] for job in worker["jobs"]] == products


def test_predictions_find_no_model_of_another_product(client: TestClient, bound: dict[str, str]) -> None:
    pairs = [("product", "theirs"), ("product", "theirs@champion"), ("product", "theirs@1")]
    for name, value in (*pairs, ("job", "job_theirs"), ("model", "mdl_theirs")):
        details = []
        for asked in (value, value.replace("theirs", "absent")):
            answer = client.post(f"/predict?{name}={asked}", content=b"x", headers={**bound, **IMAGE})
            details.append(str(assert_problem(answer, 404)["detail"]).replace("absent", "theirs"))
        assert details[0] == details[1]
    answer = client.post("/predict?product=mine&model=mdl_theirs", content=b"x", headers={**bound, **IMAGE})
    assert "'mdl_theirs'" in assert_problem(answer, 404)["detail"]


@pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if one.path.startswith("/v2/models/")], ids=str
)
def test_the_inference_protocol_finds_no_model_of_another_product(
    client: TestClient, bound: dict[str, str], operation: Operation
) -> None:
    for name, version in (("theirs", "1"), ("theirs", "champion"), ("mdl_theirs", "1")):
        details = []
        for asked in (name, name.replace("theirs", "absent")):
            url = operation.path.replace("{model}", asked).replace("{version}", version)
            body = as_json(b"x") if operation.content else None
            answer = client.request(operation.method, url, json=body, headers=bound)
            details.append(str(assert_problem(answer, 404)["detail"]).replace("absent", "theirs"))
        assert details[0] == details[1]


IMAGE = {"content-type": "image/png"}


def test_bodies_name_nothing_of_another_product(client: TestClient, bound: dict[str, str]) -> None:
    for body in (
        {"product": "theirs"},
        {"product": "mine", "dataset": "dst_theirs"},
        {"product": "mine", "evaluation_dataset": "dst_theirs", "dataset": "dst_mine"},
    ):
        answer = client.post("/jobs", json=body, headers=bound)
        assert "There is no" in assert_problem(answer, 404)["detail"]
    answer = client.put("/products/mine/aliases/champion", json={"model": "mdl_theirs"}, headers=bound)
    assert assert_problem(answer, 404)["detail"] == "There is no model 'mdl_theirs'."


def test_a_bound_key_makes_no_product_whether_its_id_is_taken_or_not(
    client: TestClient, bound: dict[str, str]
) -> None:
    details = {
        assert_problem(client.post("/products", json={"id": name}, headers=bound), 403)["detail"]
        for name in ("theirs", "mine", "new")
    }
    assert len(details) == 1
    assert_problem(client.get("/metrics", headers=bound), 403)


def test_a_cursor_leads_to_no_other_product(client: TestClient, bound: dict[str, str]) -> None:
    page = client.get("/products?limit=1", headers=FIRST).json()
    assert [row["id"] for row in page["data"]] == ["theirs"]
    rest = client.get(f"/products?after={page['next_cursor']}", headers=bound).json()
    assert [row["id"] for row in rest["data"]] == ["mine"]
    assert client.get("/products?limit=1", headers=bound).json()["has_more"] is False


def test_each_key_has_idempotency_keys_of_its_own(client: TestClient) -> None:
    once = {"idempotency-key": "once"}
    keys = [make_headers(client, "write") for _ in range(2)]
    body = {"id": "made-once"}
    made = client.post("/products", json=body, headers={**keys[0], **once})
    assert made.status_code == 201
    assert client.post("/products", json=body, headers={**keys[0], **once}).json() == made.json()
    assert_problem(client.post("/products", json=body, headers={**keys[1], **once}), 409)
    assert_problem(client.post("/products", json=body, headers={**FIRST, **once}), 409)


def test_what_a_bound_key_may_do_it_can(client: TestClient, bound: dict[str, str]) -> None:
    assert client.patch("/products/mine", json={"name": "Mine"}, headers=bound).status_code == 200
    alias = {"model": "mdl_mine"}
    answer = client.put("/products/mine/aliases/canary", json=alias, headers=bound)
    assert answer.status_code == 200
    assert client.get("/jobs/job_mine/metrics", headers=bound).json()["last_step"] == 1
    assert client.get("/jobs/job_mine/events", headers=bound).json()["data"] != []


def test_a_bound_key_does_not_learn_which_folders_the_server_has(
    client: TestClient, bound: dict[str, str], tmp_path: Path
) -> None:
    problems = []
    for path in (tmp_path, tmp_path / "absent", "/"):
        answer = client.post("/products/mine/datasets", json={"path": str(path)}, headers=bound)
        problem = assert_problem(answer, 403)
        del problem["request_id"]
        problems.append(problem)
    assert problems == problems[:1] * 3
    assert "LOUPE_DATASET_ROOTS" not in str(problems)
    # A key of no product is told.
    answer = client.post("/products/mine/datasets", json={"path": "/"}, headers=FIRST)
    assert "LOUPE_DATASET_ROOTS" in assert_problem(answer, 422)["hint"]
