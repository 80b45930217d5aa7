"""HEAD, OPTIONS and 405 on every path"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.head import HeadMiddleware
from app.config import Settings
from tests.api.opened import opened
from tests.api.operations import OPERATIONS, Operation
from tests.api.test_problems import assert_problem

GETS = [operation for operation in OPERATIONS if operation.method == "GET"]
CHANGING = {"x-request-id", "date"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with opened(Settings(home=tmp_path_factory.mktemp("methods"), _env_file=None)) as client:
        client.post("/products", json={"id": "x"})
        yield client


@pytest.mark.parametrize("operation", GETS, ids=str)
def test_head_is_get_without_a_body(client: TestClient, operation: Operation) -> None:
    for url in (operation.url, operation.url + "?made_up=1", "/v1" + operation.url):
        get, head = client.get(url), client.head(url)
        assert head.status_code == get.status_code
        assert head.content == b""
        kept = [{k: v for k, v in one.headers.items() if k not in CHANGING} for one in (get, head)]
        if operation.path != "/metrics":  # which counts the request before
            assert kept[0] == kept[1]


def test_head_follows_no_stream() -> None:
    """The body of a followed log never ends."""
    sent: list[dict[str, Any]] = []

    async def endless(scope: dict[str, Any], _receive: Any, send: Any) -> None:
        assert scope["method"] == "GET"
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x", "more_body": True})

    async def send(message: dict[str, Any]) -> None:
        sent.append({**message, "method": scope["method"]})

    scope = {"type": "http", "method": "HEAD"}
    asyncio.run(HeadMiddleware(endless)(scope, None, send))  # type: ignore[arg-type]
    assert [(one["type"], one.get("body"), one["method"]) for one in sent] == [
        ("http.response.start", None, "HEAD"),
        ("http.response.body", b"", "HEAD"),
    ]
    assert scope["method"] == "HEAD"


def _methods() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(lambda: {"OPTIONS"})
    for operation in OPERATIONS:
        found[operation.url] |= {operation.method} | ({"HEAD"} if operation.method == "GET" else set())
    return dict(found)


@pytest.mark.parametrize(("url", "methods"), _methods().items())
def test_allow_names_all_methods_of_a_path(client: TestClient, url: str, methods: set[str]) -> None:
    for prefix in ("", "/v1"):
        options = client.options(prefix + url)
        assert options.status_code == 204
        assert options.content == b""
        assert set(options.headers["allow"].split(", ")) == methods
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"} - methods:
            answer = client.request(method, prefix + url)
            assert answer.status_code == 405
            assert set(answer.headers["allow"].split(", ")) == methods
            if method != "HEAD":
                assert answer.headers["allow"] in assert_problem(answer, 405)["hint"]


def test_options_on_no_path_is_a_404(client: TestClient) -> None:
    assert_problem(client.options("/no/such/path"), 404)
