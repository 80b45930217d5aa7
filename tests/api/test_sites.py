"""Which hosts are answered, and which web pages may change something"""

from __future__ import annotations

import asyncio
from itertools import product
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from app.api.sites import SAFE_METHODS
from app.config import Settings
from app.main import create_app
from tests.api.opened import opened
from tests.api.operations import OPERATIONS
from tests.api.test_problems import assert_problem
from tests.clients import local_client

EVIL = "https://evil.example"
LOOPBACK_HOSTS = ("localhost", "LOCALHOST:8000", "127.0.0.1", "127.1.2.3:80", "[::1]", "[::1]:8000", "")
FOREIGN_HOSTS = (
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "0.0.0.0:8000",
    "10.0.0.1",
    "[::2]:8000",
    "127.0.0.1@evil.example",
    "evil.example/127.0.0.1",
    "127.0.0.1:80:80",
    "[::1",
    "api",
)
UNSAFE = [operation for operation in OPERATIONS if operation.method not in SAFE_METHODS]
FOREIGN_PAGES: tuple[dict[str, str], ...] = (
    {"origin": EVIL},
    {"origin": "null"},
    {"origin": EVIL, "sec-fetch-site": "cross-site"},
    {"origin": EVIL, "sec-fetch-site": "none"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "http://127.0.0.1:3000", "sec-fetch-site": "same-site"},
    {"origin": "https://127.0.0.1"},
    {"origin": "http://127.0.0.1.evil.example"},
    {"origin": "http://127.0.0.1@evil.example"},
    {"origin": "http://[::1"},
    {"origin": ""},
)
PROBING_PAGES: tuple[dict[str, str], ...] = (
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
    {"sec-fetch-site": "same-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "cors", "origin": EVIL},
    {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "object"},
)
OWN_PAGES: tuple[dict[str, str], ...] = (
    {},
    {"origin": "http://127.0.0.1"},
    {"origin": "http://127.0.0.1:80", "sec-fetch-site": "same-origin"},
    {"origin": "null", "sec-fetch-site": "same-origin"},
    {"sec-fetch-site": "none"},
)


def with_settings(settings: Settings, **fields: Any) -> Settings:
    return Settings(home=settings.home, _env_file=None, **fields)


def status_for(client: TestClient, host: str) -> int:
    return client.get("/healthz", headers={"host": host}).status_code


def test_without_a_key_only_loopback_names_are_answered(settings: Settings) -> None:
    with opened(settings) as client:
        assert [status_for(client, host) for host in LOOPBACK_HOSTS] == [200] * len(LOOPBACK_HOSTS)
        for host in FOREIGN_HOSTS:
            problem = assert_problem(client.get("/products", headers={"host": host}), 403)
            assert problem["code"] == "foreign_host"
            assert "LOUPE_ALLOWED_HOSTS" in problem["hint"]


@pytest.mark.parametrize("path", sorted({operation.url for operation in OPERATIONS} | {"/docs", "/nothing"}))
def test_every_path_refuses_a_foreign_host(client: TestClient, path: str) -> None:
    assert_problem(client.get(path, headers={"host": "evil.example"}), 403)


def test_a_second_host_header_does_not_help(client: TestClient) -> None:
    headers = [("host", "127.0.0.1"), ("host", "evil.example")]
    assert_problem(client.get("/products", headers=headers), 403)


def test_with_a_key_any_host_is_answered_unless_the_setting_names_them(settings: Settings) -> None:
    with opened(with_settings(settings, api_key="s3cret")) as client:
        assert status_for(client, "loupe.example") == 200
    named = with_settings(settings, api_key="s3cret", allowed_hosts="Loupe.example, *.lab.example, [fd00::1]")
    with opened(named) as client:
        for host in ("loupe.example:8443", "a.lab.example", "a.b.LAB.example", "[fd00::1]:80", "127.0.0.1"):
            assert status_for(client, host) == 200, host
        for host in ("other.example", "lab.example", "evil-lab.example", "a.loupe.example", "fd00::1"):
            assert status_for(client, host) == 403, host


def test_without_a_key_the_setting_adds_hosts(settings: Settings) -> None:
    with opened(with_settings(settings, allowed_hosts="api")) as client:
        assert [status_for(client, host) for host in ("api:8000", "localhost", "other")] == [200, 200, 403]
    with opened(with_settings(settings, allowed_hosts="*,api")) as client:
        assert status_for(client, "other") == 200


@pytest.mark.parametrize("value", ["http://a.example", "a.example:80", "*a.example", "a.*", "a b", "/"])
def test_what_is_no_host_name_is_refused(value: str) -> None:
    with pytest.raises(ValidationError):
        Settings(allowed_hosts=value, _env_file=None)


@pytest.mark.parametrize("operation", UNSAFE, ids=str)
@pytest.mark.parametrize("key", [None, "s3cret"])
def test_no_route_lets_a_foreign_page_change_anything(settings: Settings, operation: Any, key: str) -> None:
    # Nothing is opened: what came as far as a route would fail.
    client = local_client(with_settings(settings, api_key=key))
    for page in FOREIGN_PAGES:
        headers = {**page, "authorization": "Bearer s3cret"}
        answer = client.request(operation.method, operation.url, headers=headers)
        problem = assert_problem(answer, 403)
        assert problem["code"] == "foreign_site", page
        assert "LOUPE_CORS_ORIGINS" in problem["hint"]


@pytest.mark.parametrize("page", OWN_PAGES, ids=str)
def test_own_pages_and_programs_may(client: TestClient, page: dict[str, str]) -> None:
    assert client.post("/products", json={"id": "x"}, headers=page).status_code == 201


@pytest.mark.parametrize(
    "url", sorted({one.url for one in OPERATIONS if one.method == "GET"} | {"/docs", "/x"})
)
def test_a_foreign_page_does_not_learn_what_exists(settings: Settings, url: str) -> None:
    # Nothing is opened: what came as far as a route would fail.
    client = local_client(settings)
    for page, method in product(PROBING_PAGES, ("GET", "HEAD")):
        answer = client.request(method, url, headers=page)
        assert answer.status_code == 403, page
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert method == "HEAD" or assert_problem(answer, 403)["code"] == "foreign_site"


@pytest.mark.parametrize(
    "page", [*OWN_PAGES, {"origin": EVIL}, {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}]
)
def test_own_pages_programs_and_who_follows_a_link_may_ask(client: TestClient, page: dict[str, str]) -> None:
    """Of a browser that says no more than the origin, a page does not see the answer."""
    assert client.get("/products", headers=page).status_code == 200


def test_every_answer_says_what_a_browser_may_do_with_it(settings: Settings) -> None:
    # It is not opened: what comes as far as a route fails, outside of most that wraps it.
    client = local_client(settings, raise_server_exceptions=False)
    answers = [
        *(client.get(url) for url in ("/products", "/x", "/docs/assets/session.css")),
        client.get("/products", headers={"host": "evil.example"}),
        client.put("/products"),
    ]
    assert [answer.status_code for answer in answers] == [500, 404, 200, 403, 405]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"


def test_pages_that_the_cors_setting_allows_may(settings: Settings) -> None:
    line = {"origin": "https://line.example", "sec-fetch-site": "cross-site"}
    with opened(with_settings(settings, cors_origins="https://line.example")) as client:
        asked = client.get("/products", headers=line)
        assert asked.status_code == 200
        assert "cross-origin-resource-policy" not in asked.headers
        assert client.post("/products", json={"id": "x"}, headers=line).status_code == 201
        assert client.post("/products", json={"id": "y"}, headers={"origin": EVIL}).status_code == 403
    with opened(with_settings(settings, cors_origins="*")) as client:
        assert client.post("/products", json={"id": "z"}, headers={"origin": EVIL}).status_code == 201


@pytest.mark.parametrize("is_trusted", [True, False])
@pytest.mark.parametrize(
    "forwarded",
    [{"host": "loupe.example:8443"}, {"host": "127.0.0.1", "x-forwarded-host": "loupe.example:8443"}],
)
def test_own_pages_may_behind_a_trusted_proxy(
    settings: Settings, is_trusted: bool, forwarded: dict[str, str]
) -> None:
    behind = with_settings(
        settings,
        allowed_hosts="loupe.example",
        trusted_proxies="10.0.0.0/8" if is_trusted else "192.168.0.0/16",
    )
    headers = {**forwarded, "x-forwarded-proto": "https"}
    own = {**headers, "origin": "https://loupe.example:8443"}
    foreign = {**headers, "origin": EVIL}
    with opened(behind, client=("10.1.2.3", 5)) as client:
        answer = client.post("/products", json={"id": "x"}, headers=own)
        assert answer.status_code == (201 if is_trusted else 403)
        assert client.post("/products", json={"id": "y"}, headers=foreign).status_code == 403


def test_a_refused_request_is_answered_before_its_body_is_read(settings: Settings) -> None:
    app = create_app(settings)
    for headers in ([(b"host", b"evil.example")], [(b"host", b"127.0.0.1"), (b"origin", EVIL.encode())]):
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/products/x/datasets",
            "raw_path": b"/products/x/datasets",
            "root_path": "",
            "query_string": b"",
            "scheme": "http",
            "client": ("10.0.0.1", 5),
            "server": ("127.0.0.1", 80),
            "headers": [*headers, (b"content-type", b"application/zip"), (b"content-length", b"1000000000")],
        }
        sent: list[Any] = []

        async def receive(sent: list[Any] = sent) -> Any:
            assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
            return {"type": "http.disconnect"}

        async def send(message: Any, sent: list[Any] = sent) -> None:
            sent.append(message)

        asyncio.run(app(scope, receive, send))
        assert sent[0]["status"] == 403
