"""Pages of other origins"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from app.config import Settings
from tests.api.opened import opened
from tests.api.operations import OPERATIONS
from tests.api.test_problems import JSON, assert_problem

LINE, OTHER = "https://line.example:8443", "https://other.example"


@pytest.fixture(params=[LINE, "*"])
def origins(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(settings: Settings, origins: str) -> Iterator[TestClient]:
    with opened(
        Settings(home=settings.home, cors_origins=f"{origins}", api_key="s3cret", _env_file=None)
    ) as client:
        yield client


def preflight(client: TestClient, method: str, url: str, origin: str = LINE) -> dict[str, str]:
    asked = {
        "origin": origin,
        "access-control-request-method": method,
        "access-control-request-headers": "authorization,content-type,idempotency-key",
    }
    return dict(client.options(url, headers=asked).headers)


def test_a_preflight_of_every_route_passes_without_the_key(client: TestClient, origins: str) -> None:
    for operation in OPERATIONS:
        headers = preflight(client, operation.method, operation.url)
        assert headers["access-control-allow-origin"] == origins
        assert operation.method in headers["access-control-allow-methods"]
        assert "authorization" in headers["access-control-allow-headers"]
        assert "access-control-allow-credentials" not in headers


def test_answers_and_errors_can_be_read_with_the_headers_that_clients_need(
    client: TestClient, origins: str
) -> None:
    key = {"authorization": "Bearer s3cret"}
    answers = [
        client.post("/products", json={"id": "x"}, headers={"origin": LINE, **key}),
        client.get("/products", headers={"origin": LINE}),
        client.get("/products/none", headers={"origin": LINE, **key}),
        client.post("/products", content=b" " * 2**21, headers={"origin": LINE, **key, **JSON}),
    ]
    assert [answer.status_code for answer in answers] == [201, 401, 404, 413]
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == origins
        exposed = answer.headers["access-control-expose-headers"].split(", ")
        assert {"Location", "Retry-After", "ETag", "X-Request-Id", "Content-Disposition"} <= set(exposed)
        assert "access-control-allow-credentials" not in answer.headers
        if origins != "*":
            assert "Origin" in answer.headers["vary"]


def test_another_origin_is_allowed_nothing(settings: Settings) -> None:
    with opened(Settings(home=settings.home, cors_origins=LINE, _env_file=None)) as client:
        for origin in (OTHER, "null", LINE + ".evil.example", "http://line.example:8443"):
            assert "access-control-allow-origin" not in preflight(client, "POST", "/products", origin)
            assert (
                "access-control-allow-origin"
                not in client.get("/products", headers={"origin": origin}).headers
            )


def test_without_the_setting_no_origin_is_allowed(settings: Settings) -> None:
    with opened(settings) as client:
        assert "access-control-allow-origin" not in preflight(client, "POST", "/products")
        assert_problem(client.options("/nothing", headers={"origin": LINE}), 404)


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("https://a.example, http://localhost:3000", ("https://a.example", "http://localhost:3000")),
        ("https://A.example/", ("https://a.example",)),
        ("http://[::1]:3000", ("http://[::1]:3000",)),
        ("*", ("*",)),
        (" ", ()),
    ],
)
def test_origins_are_a_list(value: str, origins: tuple[str, ...]) -> None:
    assert Settings(cors_origins=value, _env_file=None).cors_origins == origins


@pytest.mark.parametrize(
    "value", ["a.example", "https://a.example/path", "*,https://a.example", "null", "https://*.a"]
)
def test_what_is_no_origin_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        Settings(cors_origins=value, _env_file=None)
