"""Keys: made, shown once, rotated, revoked"""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text, update

from app import migrations
from app.changes import Changes
from app.config import Settings
from app.context import AppContext
from app.models import ApiKey
from app.services.key_ring import KeyRing
from tests.api.keys import FIRST, headers_of, make_headers, make_key
from tests.api.opened import opened
from tests.api.test_problems import assert_problem
from tests.clients import local_client
from tests.waiting import wait_for


@pytest.fixture
def guarded(any_database: Settings) -> Settings:
    return any_database.model_copy(update={"api_key": Settings(api_key="s3cret", _env_file=None).api_key})


@pytest.fixture
def client(guarded: Settings) -> Iterator[TestClient]:
    with opened(guarded) as client:
        yield client


def status_for(client: TestClient, headers: dict[str, str], path: str = "/products") -> int:
    return client.get(path, headers=headers).status_code


def ring_of(client: TestClient) -> KeyRing:
    ring: KeyRing = client.app.state.key_ring  # type: ignore[attr-defined]
    return ring


def context_of(client: TestClient) -> AppContext:
    context: AppContext = client.app.state.context  # type: ignore[attr-defined]
    return context


def test_a_key_is_shown_once_and_kept_as_a_hash(client: TestClient) -> None:
    answer = client.post("/api-keys", json={"name": "line 2", "scopes": ["read"]}, headers=FIRST)
    assert answer.headers["cache-control"] == "no-store"
    key = answer.json()
    assert re.fullmatch(r"lp_[A-Za-z0-9]{8}_[A-Za-z0-9]{43}", key["key"])
    assert key["key"].startswith(key["prefix"] + "_")
    shown = client.get(answer.headers["location"], headers=FIRST).json()
    assert shown == {name: value for name, value in key.items() if name != "key"}
    assert client.get("/api-keys", headers=FIRST).json()["data"] == [shown]
    assert status_for(client, headers_of(key)) == 200
    secret = key["key"].rpartition("_")[2]
    with context_of(client).db.read() as session:
        for table in ("api_keys", "idempotency_keys"):
            assert secret not in str(session.execute(text(f"SELECT * FROM {table}")).all())


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["everything"]}, "/scopes/0"),
        ({"scopes": ["admin"], "products": ["screws"]}, "/"),
        ({"products": []}, "/products"),
        ({"products": ["nothing-here"]}, "/products/0"),
        ({"name": ""}, "/name"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "/expires_at"),
        ({"expires_at": "2099-01-01T00:00:00"}, "/expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:59"}, "/expires_at"),
        ({"expires_at": "0001-01-01T00:00:00+23:59"}, "/expires_at"),
        ({"expires_at": 1e300}, "/expires_at"),
    ],
)
def test_a_key_that_cannot_be_is_refused(client: TestClient, fields: dict[str, Any], pointer: str) -> None:
    client.post("/products", json={"id": "screws"}, headers=FIRST)
    body = {"name": "x", "scopes": ["read"], **fields}
    problem = assert_problem(client.post("/api-keys", json=body, headers=FIRST), 422)
    assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert client.get("/api-keys", headers=FIRST).json()["data"] == []


def test_an_open_server_makes_no_first_key(any_database: Settings) -> None:
    with opened(any_database) as client:
        body = {"name": "x", "scopes": ["read"]}
        assert "LOUPE_API_KEY" in assert_problem(client.post("/api-keys", json=body), 409)["hint"]
        assert client.get("/products").status_code == 200


def test_a_server_with_keys_asks_for_them_also_without_the_first(
    guarded: Settings, any_database: Settings
) -> None:
    with opened(guarded) as client:
        admin, reader = (make_key(client, scope) for scope in ("admin", "read"))
    with local_client(any_database, raise_server_exceptions=False) as client:
        assert_problem(client.get("/products"), 401)
        assert_problem(client.get("/products", headers=FIRST), 401)
        assert status_for(client, headers_of(reader)) == 200
        body = {"name": "another", "scopes": ["read"]}
        another = client.post("/api-keys", json=body, headers=headers_of(admin))
        assert another.status_code == 201
        for key in (reader, another.json()):
            assert client.delete(f"/api-keys/{key['id']}", headers=headers_of(admin)).status_code == 204
        last = client.delete(f"/api-keys/{admin['id']}", headers=headers_of(admin))
        assert "LOUPE_API_KEY" in assert_problem(last, 409)["hint"]


def test_before_the_keys_could_be_read_only_what_is_in_no_database_is_shown(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": "postgresql://nobody@127.0.0.1:1/none"})
    with local_client(away, raise_server_exceptions=False) as client:
        for path in ("/healthz", "/networks", "/version", "/metrics", "/docs", "/openapi.json"):
            assert client.get(path).status_code == 200
        for path in ("/products", "/api-keys", "/jobs/x"):
            assert "could not be read" in assert_problem(client.get(path), 503)["detail"]
        assert_problem(client.post("/session", json={"key": "x"}), 503)


def test_a_deleted_key_is_refused_at_once_and_soon_by_other_processes(
    client: TestClient, guarded: Settings
) -> None:
    key = make_key(client, "read")
    with local_client(guarded, raise_server_exceptions=False) as other:
        assert status_for(other, headers_of(key)) == 200
        assert client.delete(f"/api-keys/{key['id']}", headers=FIRST).status_code == 204
        assert status_for(client, headers_of(key)) == 401
        wait_for(lambda: status_for(other, headers_of(key)) == 401, 10, "the revocation", every=0.05)
        assert_problem(client.get(f"/api-keys/{key['id']}", headers=FIRST), 404)


def test_a_new_key_is_good_at_once_on_every_process(client: TestClient, guarded: Settings) -> None:
    with local_client(guarded, raise_server_exceptions=False) as other:
        for _ in range(3):
            wait_for(lambda: status_for(other, make_headers(client, "read")) == 200, 10, "a new key")


def test_it_is_good_for_all_that_come_at_once_also_beside_clients_that_guess(
    client: TestClient, guarded: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Changes] = []
    look = Changes.look_after_a_miss

    def counted(changes: Changes) -> None:
        looks.append(changes)
        look(changes)

    monkeypatch.setattr(Changes, "look_after_a_miss", counted)
    with local_client(guarded, raise_server_exceptions=False) as other, ThreadPoolExecutor(16) as pool:
        wrong = {"authorization": "Bearer lp_aaaaaaaa_b"}
        guesses = [pool.submit(status_for, other, wrong) for _ in range(30)]
        headers = make_headers(client, "read")
        asked = [pool.submit(status_for, other, headers) for _ in range(10)]
        assert {one.result() for one in asked} == {200}
        assert {one.result() for one in guesses} == {401}
    assert len(looks) < 15


def test_a_rotated_key_has_two_secrets_for_a_while(client: TestClient) -> None:
    key = make_key(client, "read")
    path = f"/api-keys/{key['id']}/rotate"
    second = client.post(path, json={"overlap_seconds": 60}, headers=FIRST).json()
    assert (second["id"], second["prefix"]) == (key["id"], key["prefix"])
    assert second["key"] != key["key"]
    until = datetime.fromisoformat(second["previous_until"])
    assert timedelta(seconds=50) < until - datetime.now(UTC) <= timedelta(seconds=60)
    assert [status_for(client, headers_of(one)) for one in (key, second)] == [200, 200]
    # A third secret ends the first at once.
    third = client.post(path, headers=FIRST).json()
    assert [status_for(client, headers_of(one)) for one in (key, second, third)] == [401, 200, 200]
    fourth = client.post(path, json={"overlap_seconds": 0}, headers=FIRST).json()
    assert [status_for(client, headers_of(one)) for one in (second, third, fourth)] == [401, 401, 200]


def test_the_secret_before_ends_by_the_clock(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make_key(client, "read", expires_at=(datetime.now(UTC) + timedelta(days=2)).isoformat())
    rotated = client.post(f"/api-keys/{key['id']}/rotate", headers=FIRST).json()
    for hours, expected in ((23, [200, 200]), (25, [401, 200]), (47, [401, 200]), (49, [401, 401])):
        later = datetime.now(UTC) + timedelta(hours=hours)
        monkeypatch.setattr("app.services.key_ring.utc_now", lambda later=later: later)
        assert [status_for(client, headers_of(one)) for one in (key, rotated)] == expected, hours
    problem = assert_problem(client.get("/products", headers=headers_of(rotated)), 401)
    assert "has expired" in problem["detail"]


def test_no_request_asks_the_database_who_sent_it(client: TestClient) -> None:
    """While the database is away, the last known keys count."""
    headers = make_headers(client, "read")
    with context_of(client).db.write() as session:
        session.execute(text("ALTER TABLE api_keys RENAME TO away"))
    try:
        assert status_for(client, headers, "/networks") == 200
        assert status_for(client, {"authorization": "Bearer lp_aaaaaaaa_b"}, "/networks") == 401
    finally:
        with context_of(client).db.write() as session:
            session.execute(text("ALTER TABLE away RENAME TO api_keys"))


def test_the_last_use_is_written_once_a_minute_beside_the_requests(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key(client, "read")
    path = f"/api-keys/{key['id']}"

    def last_use() -> Any:
        return client.get(path, headers=FIRST).json()["last_used_at"]

    assert last_use() is None
    assert status_for(client, headers_of(key)) == 200
    wait_for(lambda: last_use() is not None, 10, "the last use")
    with context_of(client).db.write() as session:
        session.execute(update(ApiKey).values(last_used_at=None))
    assert status_for(client, headers_of(key)) == 200
    ring_of(client).write_uses()
    assert last_use() is None
    monkeypatch.setattr("app.services.key_ring.USE_SECONDS", 0.0)
    ring_of(client).write_uses()
    assert last_use() is not None


def test_another_product_of_the_same_id_is_not_that_of_the_key(client: TestClient) -> None:
    for name in ("screws", "nuts"):
        client.post("/products", json={"id": name}, headers=FIRST)
    key = make_key(client, "write", products=["screws", "nuts"])
    assert client.delete("/products/screws", headers=headers_of(key)).status_code == 204
    client.post("/products", json={"id": "screws"}, headers=FIRST)
    assert_problem(client.get("/products/screws", headers=headers_of(key)), 404)
    assert client.delete("/products/nuts", headers=headers_of(key)).status_code == 204
    assert client.get("/products", headers=headers_of(key)).json()["data"] == []
    assert client.get(f"/api-keys/{key['id']}", headers=FIRST).json()["products"] == []


def test_a_key_of_the_settings_may_have_any_characters(settings: Settings) -> None:
    strange = Settings(home=settings.home, api_key=" schlüssel à ", _env_file=None)
    with opened(strange) as client:
        sent = ["schlüssel à".encode(), " schlüssel à ".encode()]
        assert [status_for(client, {"authorization": b"Bearer " + one}) for one in sent] == [200, 200]  # type: ignore[dict-item]
        assert_problem(client.get("/products", headers={"authorization": "Bearer schlussel a"}), 401)
        answer = client.post("/session", json={"key": "schlüssel à"})
        assert answer.status_code == 201
    for bad in ("a\nb", "a\x00b", "caf\udce9"):
        with pytest.raises(ValueError, match="one line of text"):
            Settings(home=settings.home, api_key=bad, _env_file=None)
    assert Settings(api_key="  ", _env_file=None).api_key is None


def test_a_process_that_starts_knows_the_keys(client: TestClient, guarded: Settings) -> None:
    headers = make_headers(client, "read")
    with local_client(guarded, raise_server_exceptions=False) as other:
        assert status_for(other, headers) == 200


def test_the_api_starts_before_the_schema_is_there(settings: Settings) -> None:
    guarded = Settings(home=settings.home, api_key="s3cret", _env_file=None)
    with local_client(guarded, raise_server_exceptions=False) as client:
        assert client.get("/version", headers=FIRST).status_code == 200
        assert_problem(client.get("/version", headers={"authorization": "Bearer lp_aaaaaaaa_b"}), 503)
        with closing(AppContext.open(guarded)) as context:
            migrations.upgrade(context.db)
        wait_for(lambda: status_for(client, {}) == 401, 10, "the keys")
