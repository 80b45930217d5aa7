"""No limit on predictions misses a way in: every route that predicts is walked."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from app.api.body_memory import JSON_FACTOR, BodyMemoryMiddleware
from app.api.prediction_routes import IMAGE_ROUTES, PREDICTION_ROUTES, SIMILAR_ROUTE
from app.api.problems import BodyRefusedError
from app.api.scopes import NEEDS, PREDICT
from app.config import Settings
from docs.generate import ROOT
from tests.api.keys import FIRST, make_headers
from tests.api.opened import opened
from tests.api.operations import OPERATIONS
from tests.api.tensors import LENGTH, as_json, binary, elements
from tests.api.test_predict_limits import body_of
from tests.api.test_problems import JSON, assert_problem
from tests.conftest import Trained
from tests.images.hostile import flat

every_route = pytest.mark.parametrize("route", PREDICTION_ROUTES)
every_image_route = pytest.mark.parametrize("route", IMAGE_ROUTES)
every_prefix = pytest.mark.parametrize("prefix", ["", "/v1"])
PNG = flat("PNG", 40)


def url_of(route: str, product: str = "squares") -> str:
    """Where a route asks the champion of a product, or about a dataset that is not there."""
    url = route.replace("{model}", product).replace("{version}", "champion").replace("{dataset}", "dst_none")
    return f"{url}?product={product}" if route == "/predict" else url


def sent(route: str, *images: bytes) -> dict[str, Any]:
    """The cheapest form of so many images."""
    if "/v2/" in route:
        return dict(binary(elements(*images), [len(images)]))
    return {"files": [("file", ("a", image)) for image in images]}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One API for all that only asks, with a key and small limits."""
    small: dict[str, Any] = {"max_predict_bytes": 3 * 2**20, "max_json_bytes": 2**20, "max_predict_files": 4}
    home = tmp_path_factory.mktemp("predicting")
    with opened(Settings(home=home, api_key="s3cret", **small, _env_file=None)) as client:
        yield client


def test_the_list_has_every_route_that_predicts_and_no_other() -> None:
    asking = {path for (method, path), need in NEEDS.items() if method == "POST" and need == PREDICT}
    # A batch is a job: its body is an upload, and its images have the pace of the key.
    assert {*PREDICTION_ROUTES, "/predictions"} == asking


def test_the_list_of_images_has_every_route_that_takes_one() -> None:
    taking = {operation.path for operation in OPERATIONS if "image/*" in operation.content}
    assert taking == {"/predict", SIMILAR_ROUTE}
    assert taking <= set(IMAGE_ROUTES)


@every_image_route
@every_prefix
def test_a_body_may_be_as_long_as_a_prediction_s_and_no_longer(
    client: TestClient, route: str, prefix: str
) -> None:
    url = prefix + url_of(route, "nothing")
    fits, over = bytes(2 * 2**20), bytes(5 * 2**20)
    assert_problem(ask(client, url, sent(route, fits)), 404)
    assert_problem(ask(client, url, sent(route, over)), 413)


def ask(client: TestClient, url: str, body: dict[str, Any], key: dict[str, str] = FIRST) -> Any:
    return client.post(url, **{**body, "headers": {**body.get("headers", {}), **key}})


@every_route
def test_each_image_counts_for_the_key_and_before_the_body_is_read(client: TestClient, route: str) -> None:
    key = make_headers(client, "predict", limits={"predictions_per_minute": 3})
    url = url_of(route, "nothing")
    assert ask(client, url, sent(route, b"x", b"x"), key).status_code == 404
    answer = ask(client, url, sent(route, b"x", b"x"), key)
    assert "1 are left, and this request takes 2" in assert_problem(answer, 429)["detail"]
    assert ask(client, url, sent(route, b"x"), key).status_code == 404
    assert_problem(ask(client, url, {"content": b"{", "headers": JSON}, key), 429)


@every_image_route
def test_more_images_than_a_request_may_hold_are_refused(client: TestClient, route: str) -> None:
    assert_problem(ask(client, url_of(route), sent(route, *[b"x"] * 5)), 413)


@every_route
def test_a_key_without_the_scope_may_not_ask(client: TestClient, route: str) -> None:
    for scope in ("read", "write", "promote"):
        assert_problem(ask(client, url_of(route), sent(route, b"x"), make_headers(client, scope)), 403)


@every_image_route
def test_what_was_asked_is_not_recorded(client: TestClient, route: str) -> None:
    before = client.get("/audit", headers=FIRST).json()["data"]
    assert ask(client, url_of(route), sent(route, b"x")).status_code == 404
    assert client.get("/audit", headers=FIRST).json()["data"] == before


@every_image_route
def test_its_body_has_a_part_of_the_memory_for_all_bodies(
    monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    monkeypatch.setattr("app.api.body_memory.WAIT_SECONDS", 0.1)
    path = url_of(route).partition("?")[0]
    octets, length = (b"content-type", b"application/octet-stream"), (LENGTH.lower().encode(), b"2")
    kinds = {1: [octets, length], JSON_FACTOR: [(b"content-type", b"application/json")]}
    if "/v2/" in route:
        assert taken(path, []) == taken(path, [octets]) == JSON_FACTOR
    for factor, headers in kinds.items():
        assert taken(path, headers) == factor


def taken(path: str, headers: list[tuple[bytes, bytes]]) -> int:
    """How many bytes of memory each byte of a body takes."""

    async def wait(_: Any, receive: Any, __: Any) -> None:
        await receive()
        await asyncio.sleep(60)

    async def fits(total: int) -> bool:
        limited = BodyMemoryMiddleware(wait, total=total)

        async def send(message: Any) -> None:
            raise AssertionError(message)

        def ask_from(host: str) -> Any:
            about = {"type": "http", "method": "POST", "path": path, "headers": headers}
            return limited({**about, "client": (host, 1), "state": {}}, body_of(100), send)

        first = asyncio.create_task(ask_from("10.0.0.1"))
        await asyncio.sleep(0)
        try:
            async with asyncio.timeout(0.3):
                await ask_from("10.0.0.2")
        except TimeoutError:
            return True
        except BodyRefusedError:
            return False
        finally:
            first.cancel()
        raise AssertionError

    return next(factor for factor in range(1, 9) if asyncio.run(fits(200 * factor)))


def outcomes(client: TestClient) -> dict[str, float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        sample.labels["outcome"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "loupe_predicted_pictures_total" and sample.labels["product"] == "squares"
    }


@every_route
def test_its_images_and_its_deadline_are_in_the_metrics(trained: Trained, route: str) -> None:
    client, url = trained.client, url_of(route)
    before = outcomes(client)
    assert ask(client, url, sent(route, PNG, PNG), {}).status_code == 200
    assert_problem(ask(client, url, sent(route, PNG), {"X-Request-Timeout": "0.000001"}), 503)
    after = outcomes(client)
    grown = {name: after[name] - before.get(name, 0) for name in ("answered", "busy")}
    assert grown == {"answered": 2, "busy": 1}


def test_a_deadline_of_the_protocol_s_own_is_kept(trained: Trained) -> None:
    body = as_json(PNG, parameters={"timeout": 1})
    problem = assert_problem(trained.client.post("/v2/models/squares/infer", json=body), 503)
    assert "1e-06 s" in problem["error"]


@every_route
@pytest.mark.parametrize("hostile", [b"[" * 200_000, b'{"a":' * 100_000, b'{"inputs": "\\ud800"}', b"\xff"])
def test_json_that_breaks_parsers_is_answered(client: TestClient, route: str, hostile: bytes) -> None:
    answer = ask(client, url_of(route), {"content": hostile, "headers": JSON})
    assert answer.status_code in (400, 413, 422)
    assert json.loads(answer.text)["detail"]


@every_image_route
@every_prefix
def test_the_documented_proxy_lets_its_bodies_through(route: str, prefix: str) -> None:
    page = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
    (found,) = re.findall(r"location ~ (\S+) \{[^}]*LOUPE_MAX_PREDICT_BYTES", page)
    assert re.search(found, prefix + url_of(route).partition("?")[0])
