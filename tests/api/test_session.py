"""Browsers: a key becomes a cookie, which no other site can use and which ends on every process"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from http.cookies import Morsel, SimpleCookie
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select, text

from app.api.auth import COOKIE
from app.config import Settings
from app.context import AppContext
from app.models import BrowserSession
from app.models.base import utc_now
from tests.api.keys import FIRST, make_headers, make_key
from tests.api.opened import opened
from tests.api.operations import OPERATIONS
from tests.api.test_problems import assert_problem
from tests.api.test_sites import FOREIGN_PAGES, UNSAFE
from tests.clients import LOOPBACK, local_client
from tests.waiting import wait_for

OWN = {"sec-fetch-site": "same-origin"}
PAGES = ("/docs", "/redoc")


@pytest.fixture
def guarded(settings: Settings) -> Settings:
    return Settings(home=settings.home, api_key="s3cret", _env_file=None)


@pytest.fixture
def client(guarded: Settings) -> Iterator[TestClient]:
    with opened(guarded) as client:
        yield client


def sign_in(client: TestClient, key: str = "s3cret", **headers: str) -> Morsel[str]:
    """Signs in, and gives the client the cookie."""
    answer = client.post("/session", json={"key": key}, headers={**OWN, **headers})
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return SimpleCookie(answer.headers["set-cookie"])[COOKIE]


def test_a_key_becomes_a_cookie_that_no_script_and_no_other_site_can_use(client: TestClient) -> None:
    cookie = sign_in(client)
    assert cookie["httponly"]
    assert cookie["samesite"].lower() == "strict"
    assert (cookie["path"], cookie["max-age"], cookie["secure"]) == ("/", "43200", "")
    assert client.get("/products").status_code == 200
    assert client.post("/products", json={"id": "screws"}, headers=OWN).status_code == 201
    with client.app.state.context.db.read() as session:  # type: ignore[attr-defined]
        assert cookie.value not in str(session.execute(text("SELECT * FROM browser_sessions")).all())


def test_the_answer_says_who_is_signed_in_and_not_the_token(client: TestClient) -> None:
    key = make_key(client, "write", name="Ann")
    answer = client.post("/session", json={"key": key["key"]})
    assert answer.json() | {"expires_at": ""} == {
        "name": "Ann",
        "scopes": ["read", "write"],
        "products": None,
        "expires_at": "",
    }
    assert client.cookies[COOKIE] not in answer.text


@pytest.mark.parametrize("is_trusted", [True, False])
def test_behind_a_trusted_https_proxy_the_cookie_is_secure_and_for_its_path(
    guarded: Settings, is_trusted: bool
) -> None:
    behind = guarded.model_copy(update={"root_path": "/lab", "trusted_proxies": "10.0.0.0/8"})
    address = "10.1.2.3" if is_trusted else "192.168.1.1"
    with opened(behind, client=(address, 5)) as client:
        cookie = sign_in(client, **{"x-forwarded-proto": "https"})
        assert cookie["path"] == "/lab"
        assert bool(cookie["secure"]) == is_trusted


def test_a_wrong_key_opens_no_session(client: TestClient) -> None:
    for key in ("wrong", "lp_aaaaaaaa_b", "schlüssel", "s3cret2", "\U0001f511"):
        answer = client.post("/session", json={"key": key})
        assert_problem(answer, 401)
        assert "set-cookie" not in answer.headers


def test_an_open_server_has_no_sessions(settings: Settings) -> None:
    with opened(settings) as client:
        assert_problem(client.post("/session", json={"key": "x"}), 409)


@pytest.mark.parametrize("operation", UNSAFE, ids=str)
def test_with_the_cookie_only_a_page_of_this_server_changes_anything(
    operation: Any, guarded: Settings
) -> None:
    # Nothing is opened: what came as far as a route would fail.
    allowing = guarded.model_copy(update={"cors_origins": ("*",)})
    for settings in (guarded, allowing):
        client = local_client(settings, cookies={COOKIE: "x"})
        for page in (*FOREIGN_PAGES, {}, {"sec-fetch-site": "none"}):
            answer = client.request(operation.method, operation.url, headers=page)
            problem = assert_problem(answer, 403)
            assert problem["code"] == "foreign_site", page


@pytest.mark.parametrize("operation", UNSAFE, ids=str)
def test_a_cookie_in_a_later_header_is_no_way_around(operation: Any, guarded: Settings) -> None:
    client = local_client(guarded)
    for headers in ([("cookie", "a=b"), ("cookie", f"{COOKIE}=x")], [("cookie", f"{COOKIE}=x; a=b")]):
        problem = assert_problem(client.request(operation.method, operation.url, headers=headers), 403)
        assert problem["code"] == "foreign_site"


def test_own_pages_change_things_with_the_cookie(client: TestClient) -> None:
    sign_in(client)
    for number, page in enumerate((OWN, {"origin": LOOPBACK}, {"origin": "null", **OWN})):
        answer = client.post("/products", json={"id": f"made-{number}"}, headers=page)
        assert answer.status_code == 201
    # A program that sends its key is no page, whatever cookies it has.
    assert client.post("/products", json={"id": "by-key"}, headers=FIRST).status_code == 201


def test_the_cookie_may_do_what_the_key_may(client: TestClient) -> None:
    for name in ("mine", "theirs"):
        client.post("/products", json={"id": name}, headers=FIRST)
    sign_in(client, make_key(client, "read", products=["mine"])["key"])
    assert [row["id"] for row in client.get("/products").json()["data"]] == ["mine"]
    assert_problem(client.get("/products/theirs"), 404)
    assert_problem(client.delete("/products/mine", headers=OWN), 403)


def test_signing_out_ends_the_session_on_every_process(client: TestClient, guarded: Settings) -> None:
    sign_in(client)
    with local_client(guarded, raise_server_exceptions=False, cookies=dict(client.cookies)) as other:
        assert other.get("/products").status_code == 200
        token = client.cookies[COOKIE]
        answer = client.delete("/session", headers=OWN)
        assert answer.status_code == 204
        assert SimpleCookie(answer.headers["set-cookie"])[COOKIE]["max-age"] == "0"
        assert COOKIE not in client.cookies
        again = {"cookie": f"{COOKIE}={token}"}
        assert_problem(client.get("/products", headers=again), 401)
        wait_for(lambda: other.get("/products").status_code == 401, 10, "the end of the session", every=0.05)
    assert client.delete("/session").status_code == 204


def test_a_new_session_is_good_at_once_on_every_process(client: TestClient, guarded: Settings) -> None:
    with local_client(guarded, raise_server_exceptions=False) as other:
        sign_in(client)
        other.cookies = client.cookies
        wait_for(lambda: other.get("/products").status_code == 200, 10, "the session", every=0.05)


@pytest.mark.parametrize("end", ["deleted", "rotated", "expired"])
def test_a_session_ends_with_its_key(client: TestClient, end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    expiry = (utc_now() + timedelta(hours=1)).isoformat()
    key = make_key(client, "read", expires_at=expiry if end == "expired" else None)
    sign_in(client, key["key"])
    assert client.get("/products").status_code == 200
    path = f"/api-keys/{key['id']}"
    if end == "deleted":
        client.delete(path, headers=FIRST)
    elif end == "rotated":
        client.post(f"{path}/rotate", json={"overlap_seconds": 60}, headers=FIRST)
        assert client.get("/products").status_code == 200
        client.post(f"{path}/rotate", json={"overlap_seconds": 0}, headers=FIRST)
    else:
        monkeypatch.setattr("app.services.key_ring.utc_now", lambda: utc_now() + timedelta(hours=2))
    assert_problem(client.get("/products"), 401)


def test_a_session_ends_after_twelve_hours(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in(client)
    for hours, status in ((11.9, 200), (12.1, 401)):
        later = utc_now() + timedelta(hours=hours)
        monkeypatch.setattr("app.services.key_ring.utc_now", lambda later=later: later)
        assert client.get("/products").status_code == status


def test_a_session_of_the_first_key_ends_when_that_changes(client: TestClient, guarded: Settings) -> None:
    sign_in(client)
    changed = Settings(home=guarded.home, api_key="another", _env_file=None)
    for settings, status in ((guarded, 200), (changed, 401)):
        with local_client(settings, cookies=dict(client.cookies)) as other:
            assert other.get("/products").status_code == status


def test_a_key_has_a_bounded_number_of_sessions(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.browser_sessions.MAX_SESSIONS", 3)
    key = make_key(client, "read")["key"]
    for name in ("s3cret", key):
        tokens = [sign_in(client, name).value for _ in range(5)]
        found = [
            client.get("/products", headers={"cookie": f"{COOKIE}={token}"}).status_code for token in tokens
        ]
        assert found == [401, 401, 200, 200, 200]
        client.cookies.clear()
    context: AppContext = client.app.state.context  # type: ignore[attr-defined]
    with context.db.read() as session:
        assert session.scalar(select(func.count()).select_from(BrowserSession)) == 6


@pytest.mark.parametrize("path", PAGES)
def test_a_page_asks_who_has_no_key_to_sign_in(client: TestClient, path: str) -> None:
    page = client.get(path)
    assert page.status_code == 401
    assert page.headers["content-type"].startswith("text/html")
    assert 'id="sign-in"' in page.text
    assert "swagger" not in page.text
    assert "redoc" not in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    sign_in(client, make_key(client, "predict", name="<b>Ann</b>")["key"])
    page = client.get(path)
    assert page.status_code == 200
    assert "&lt;b&gt;Ann&lt;/b&gt;" in page.text
    assert 'id="sign-out"' in page.text
    client.delete("/session", headers=OWN)
    assert client.get(path).status_code == 401


def test_the_document_asks_for_any_key(client: TestClient) -> None:
    assert_problem(client.get("/openapi.json"), 401)
    for scope in ("read", "predict"):
        headers = make_headers(client, scope)
        assert client.get("/openapi.json", headers=headers).json()["openapi"]
    assert client.get("/docs/assets/session.js").status_code == 200


@pytest.mark.parametrize("path", PAGES)
def test_an_open_server_asks_nobody_to_sign_in(settings: Settings, path: str) -> None:
    with opened(settings) as client:
        page = client.get(path, headers={"cookie": f"{COOKIE}=x"})
        assert page.status_code == 200
        assert "sign-" not in page.text
        assert client.get("/openapi.json").status_code == 200


def test_the_cookie_is_never_sent_to_pages_of_other_origins(guarded: Settings) -> None:
    """CORS never allows credentials: a page that asks with them sees no answer."""
    with opened(guarded.model_copy(update={"cors_origins": ("https://line.example",)})) as client:
        sign_in(client)
        for operation in OPERATIONS:
            if operation.method == "GET":
                answer = client.get(operation.url, headers={"origin": "https://line.example"})
                assert "access-control-allow-credentials" not in answer.headers


def test_who_asks_can_be_asked(client: TestClient) -> None:
    assert_problem(client.get("/session"), 401)
    sign_in(client)
    by_cookie = client.get("/session")
    assert by_cookie.headers["cache-control"] == "no-store"
    assert by_cookie.json()["expires_at"] is not None
    by_key = client.get("/session", headers={"authorization": "Bearer s3cret"}).json()
    assert by_key == {**by_cookie.json(), "expires_at": None}
    assert client.delete("/session", headers=OWN).status_code == 204
    assert_problem(client.get("/session"), 401)


def test_where_no_key_is_asked_for_anybody_asks(settings: Settings) -> None:
    with opened(settings) as client:
        answer = client.get("/session").json()
    assert answer["name"] == "anybody"
    assert answer["expires_at"] is None
    assert "admin" in answer["scopes"]
