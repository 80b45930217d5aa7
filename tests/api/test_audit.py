"""Who did what is recorded once, with the change; refusals too, within bounds; no secret is in it"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from app.api.recording import UNRECORDED
from app.config import Settings
from app.context import AppContext
from app.errors import UnavailableError
from app.models import AuditRecord, Product
from app.models.base import utc_now
from app.services import audit_trail
from app.services.audit_records import Wanted, list_records
from app.services.audit_trail import MOST_OF_STRANGERS
from tests.api.keys import FIRST, headers_of, make_headers, make_key
from tests.api.opened import opened
from tests.api.operations import OPERATIONS, Operation
from tests.api.test_access import BODIES
from tests.api.test_problems import JSON, assert_problem
from tests.models.test_product_limits import add_one_of_each

CHANGES = [one for one in OPERATIONS if one.method != "GET" and one.path not in UNRECORDED]
every_change = pytest.mark.parametrize("operation", CHANGES, ids=str)


@pytest.fixture
def client(settings: Settings) -> Iterator[TestClient]:
    with opened(settings.model_copy(update={"api_key": Settings(api_key="s3cret").api_key})) as client:
        yield client


def context_of(client: TestClient) -> AppContext:
    context: AppContext = client.app.state.context  # type: ignore[attr-defined]
    return context


def read(client: TestClient, **wanted: Any) -> list[dict[str, Any]]:
    answer = client.get("/audit", params={"limit": 100, **wanted}, headers=FIRST)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["data"])


def test_a_record_says_who_did_what_to_which_thing_from_where_and_when(client: TestClient) -> None:
    key = make_key(client, "write", name="Ann")
    headers = {**headers_of(key), "x-request-id": "ann-1"}
    assert client.post("/products", json={"id": "screws"}, headers=headers).status_code == 201
    (record,) = read(client, key=key["id"])
    assert re.fullmatch(r"aud_[0-9a-z]{26}", record.pop("id"))
    assert datetime.now(UTC) - datetime.fromisoformat(record.pop("at")) < timedelta(minutes=1)
    assert record == {
        "key": key["id"], "caller": "Ann", "by_session": False, "action": "POST /products",
        "product": "screws", "things": ["screws"], "outcome": "done", "status": 201,
        "address": "testclient", "request_id": "ann-1", "times": 1,
    }  # fmt: skip
    (made,) = read(client, action="POST /api-keys")
    assert made["caller"] == "LOUPE_API_KEY"
    assert made["key"] is None
    assert made["things"] == [key["id"]]


@every_change
def test_each_route_that_changes_something_leaves_exactly_one_record(
    client: TestClient, operation: Operation
) -> None:
    with context_of(client).db.write() as session:
        add_one_of_each(session, "theirs")
    names = {
        "product": "theirs",
        "dataset": "dst_theirs",
        "job": "job_theirs",
        "model": "mdl_theirs",
        "sweep": "swp_theirs",
        "name": "champion",
        "key": "x",
        "webhook": "whk_x",
        "delivery": "whd_x",
        "upload": "upl_x",
    }
    path = re.sub(r"\{(\w+)\}", lambda found: names[found[1]], operation.path)
    body = {"json": BODIES.get(operation.path, {})} if operation.content else {}
    answer = client.request(operation.method, f"/v1{path}", headers={**FIRST, "x-request-id": "once"}, **body)
    (record,) = [one for one in read(client) if one["request_id"] == "once"]
    assert record["action"] == str(operation)
    assert record["status"] == answer.status_code
    assert (record["outcome"] in ("done", "unchanged")) is answer.is_success
    assert record["caller"] == "LOUPE_API_KEY"
    assert record["things"][: operation.path.count("{")] == [
        names[name] for name in re.findall(r"\{(\w+)\}", operation.path)
    ]
    if "{product}" in operation.path:
        assert record["product"] == "theirs"


@pytest.mark.parametrize("value", ["lp_aaaaaaaa_SECRETxyz", "s3cret", "MARKER-4711"])
def test_no_record_and_no_line_holds_what_was_sent_as_a_secret(
    client: TestClient, value: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "app.audit")
    is_key = not value.startswith("MARKER")
    for operation in CHANGES:
        path = operation.url_with(value if is_key else "x")
        body: Any = dict.fromkeys(("key", "name", "id", "path", "product", "metadata", "url"), value)
        sent: Any
        for sent in ({"json": body}, {"content": value.encode(), "headers": JSON}, {"data": body}):
            headers = {**FIRST, **sent.pop("headers", {}), "x-request-id": value, "idempotency-key": value}
            client.request(operation.method, f"{path}?token={value}", **sent, headers=headers)
            anybody = (
                {"authorization": f"Bearer {value}x"} if is_key else {"cookie": f"loupe_session={value}"}
            )
            client.request(operation.method, path, **sent, headers=anybody)
    made = make_key(client, "admin")
    client.post("/session", json={"key": made["key"]}, headers=FIRST)
    client.delete(f"/api-keys/{made['key']}", headers=FIRST)
    read(client)
    with context_of(client).db.read() as session:
        rows = session.execute(select(AuditRecord.__table__)).all()
    assert len(rows) > len(CHANGES)
    lines = [
        f"{one.getMessage()} {vars(one).get('audit')}" for one in caplog.records if one.name == "app.audit"
    ]
    written = f"{rows} {lines}"
    for secret in (value if is_key else "", made["key"]):
        assert not secret or secret.rpartition("_")[2] not in written
    if not is_key:
        # A request id is the client's own; nothing else of it is kept.
        assert value not in written.replace(f"'{value}'", "", written.count(f"'{value}'"))
    assert "SECRET" not in written


def test_a_change_and_its_record_are_kept_together_or_not_at_all(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> Any:
        raise UnavailableError("no")

    with monkeypatch.context() as patched:
        patched.setattr(audit_trail, "AuditRecord", fail)
        answer = client.post("/products", json={"id": "screws"}, headers=FIRST)
    assert_problem(answer, 503)
    with context_of(client).db.read() as session:
        assert session.get(Product, "screws") is None
    (record,) = read(client, action="POST /products")
    assert (record["outcome"], record["status"]) == ("failed", 503)


def test_a_repeat_changes_nothing_and_says_that(client: TestClient) -> None:
    for outcome in ("done", "unchanged"):
        headers = {**FIRST, "idempotency-key": "1"}
        assert client.post("/products", json={"id": "screws"}, headers=headers).status_code == 201
        assert read(client)[0]["outcome"] == outcome


def test_sign_in_and_sign_out_are_of_the_key(client: TestClient) -> None:
    key = make_key(client, "write", name="Ann")
    opened_ = client.post("/session", json={"key": key["key"]})
    assert opened_.status_code == 201
    page = {"sec-fetch-site": "same-origin"}
    assert client.post("/products", json={"id": "a"}, headers=page).status_code == 201
    assert client.delete("/session", headers=page).status_code == 204
    assert client.delete("/session", headers=page).status_code == 204
    found = [
        (one["caller"], one["action"], one["by_session"], one["outcome"])
        for one in read(client)
        if one["key"]
    ]
    assert found == [
        ("Ann", "DELETE /session", True, "done"),
        ("Ann", "POST /products", True, "done"),
        ("Ann", "POST /session", False, "done"),
    ]
    nobody = read(client, action="DELETE /session", outcome="unchanged")
    assert [one["caller"] for one in nobody] == [None]


def test_what_was_not_allowed_is_recorded_also_of_reads(client: TestClient) -> None:
    headers = make_headers(client, "predict", name="camera")
    assert_problem(client.get("/jobs", headers=headers), 403)
    assert_problem(client.get("/jobs"), 401)
    foreign = {**FIRST, "origin": "https://evil.example"}
    assert_problem(client.post("/products", json={"id": "a"}, headers=foreign), 403)
    seen = [(one["caller"], one["action"], one["status"]) for one in read(client, outcome="refused")]
    assert seen == [
        (None, "POST unmatched", 403),
        (None, "GET /jobs", 401),
        ("camera", "GET /jobs", 403),
    ]


def test_a_body_that_is_too_large_is_refused_as_its_senders(settings: Settings) -> None:
    limits = {"max_json_bytes": 1000, "max_upload_bytes": 1000}
    with opened(
        settings.model_copy(update={**limits, "api_key": Settings(api_key="s3cret").api_key})
    ) as client:
        client.post("/products", json={"id": "x"}, headers=FIRST).raise_for_status()
        # The model of a batch and the upload of a piece are looked for before what is sent is read.
        sought = ("/predictions", "/uploads/{upload}")
        for operation in [one for one in CHANGES if one.content and one.path not in sought]:
            for content in (bytes(2**21), iter([bytes(2**20)] * 2)):
                headers = {**FIRST, "content-type": [*operation.content][-1]}
                answer = client.request(operation.method, operation.url, content=content, headers=headers)
                assert_problem(answer, 413)
                record = read(client)[0]
                assert record["request_id"] == answer.headers["x-request-id"]
                assert record["action"] == f"{operation.method} {operation.path}"
                assert (record["outcome"], record["status"]) == ("refused", 413)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_a_page_to_sign_in_is_no_refusal_but_what_is_shown_there_may_be(
    client: TestClient, path: str
) -> None:
    for _ in range(2 * MOST_OF_STRANGERS):
        assert client.get(path).status_code == 401
    assert client.get(path, headers={"authorization": "Bearer lp_aaaaaaaa_b"}).status_code == 401
    assert client.get(path, headers={"cookie": "loupe_session=x"}).status_code == 401
    assert_problem(client.get("/openapi.json"), 401)
    refused = [one["action"] for one in read(client, outcome="refused")]
    assert refused == ["GET /openapi.json", f"GET {path}", f"GET {path}"]


def test_many_guesses_are_a_few_rows_with_a_count(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(60):
        guess = {"authorization": f"Bearer lp_aaaaaaaa_{number}"}
        client.request(*(("GET", "/jobs") if number % 2 else ("POST", "/products")), headers=guess)
    assert len(read(client)) == MOST_OF_STRANGERS
    # The minute is over.
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 61)
    records = read(client)
    assert len(records) == MOST_OF_STRANGERS + 1
    counted = max(records, key=lambda one: one["times"])
    assert counted["times"] == 60 - MOST_OF_STRANGERS
    assert (counted["action"], counted["status"]) == ("several", 401)


def test_all_addresses_of_an_ipv6_network_are_one_client(client: TestClient) -> None:
    trail = client.app.state.audit_trail  # type: ignore[attr-defined]
    for number in range(20):
        attempt = audit_trail.Attempt("GET /jobs", f"2001:db8::{number:x}", None, trail.hide)
        trail.finish(attempt, 401)
    trail.close(context_of(client).db)
    counted, *others = sorted(read(client), key=lambda one: -one["times"])
    assert sorted(one["address"] for one in others) == [f"2001:db8::{number}" for number in range(5)]
    assert (counted["times"], counted["address"]) == (20 - MOST_OF_STRANGERS, "2001:db8::/64")


def test_many_addresses_take_no_more_memory_than_a_few(client: TestClient) -> None:
    trail = client.app.state.audit_trail  # type: ignore[attr-defined]
    for number in range(3 * audit_trail.MOST_WINDOWS):
        attempt = audit_trail.Attempt("GET /jobs", f"2001:db8:{number:x}::1", None, trail.hide)
        trail.finish(attempt, 401)
    assert len(trail._windows) <= audit_trail.MOST_WINDOWS + 1


def test_reads_and_predictions_are_not_recorded(client: TestClient) -> None:
    client.get("/jobs", headers=FIRST)
    client.get("/jobs/nothing", headers=FIRST)
    client.post("/predict?product=nothing", content=b"x", headers={**FIRST, "content-type": "image/png"})
    client.post("/nowhere", headers=FIRST)
    assert read(client) == []


def test_records_outlive_the_product_and_the_key(client: TestClient) -> None:
    key = make_key(client, "write")
    client.post("/products", json={"id": "screws"}, headers=headers_of(key))
    client.delete("/products/screws", headers=FIRST)
    client.delete(f"/api-keys/{key['id']}", headers=FIRST)
    assert [one["action"] for one in read(client, product="screws")] == [
        "DELETE /products/{product}",
        "POST /products",
    ]
    assert [one["action"] for one in read(client, thing=key["id"])] == [
        "DELETE /api-keys/{key}",
        "POST /api-keys",
    ]


def test_records_are_filtered_paged_and_for_admins_alone(client: TestClient) -> None:
    for name in ("a", "b", "c"):
        client.post("/products", json={"id": name}, headers=FIRST)
    client.post("/products", json={"id": "a"}, headers=FIRST)
    assert len(read(client, outcome="done", action="products")) == 3
    assert len(read(client, outcome="refused", key="LOUPE_API_KEY")) == 1
    moment = read(client, product="b")[0]["at"]
    assert [one["product"] for one in read(client, since=moment, outcome="done")] == ["c", "b"]
    assert [one["product"] for one in read(client, until=moment)] == ["a"]
    page = client.get("/audit?limit=1", headers=FIRST).json()
    rest = client.get(f"/audit?limit=100&after={page['next_cursor']}", headers=FIRST).json()
    assert len(rest["data"]) == 3
    for wrong in ("since=yesterday", "since=2026-01-01T00:00:00", "outcome=maybe", "key=", "limit=0"):
        assert_problem(client.get(f"/audit?{wrong}", headers=FIRST), 422)
    assert_problem(client.get("/audit", headers=make_headers(client, "write", "promote")), 403)


def test_a_collector_gets_json_lines_oldest_first(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.services.audit_records.BATCH", 2)
    for name in ("a", "b", "c", "d"):
        client.post("/products", json={"id": name}, headers=FIRST)
    answer = client.get("/audit", headers={**FIRST, "accept": "application/x-ndjson"})
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    assert [json.loads(line)["product"] for line in answer.text.splitlines()] == ["a", "b", "c", "d"]


def test_each_record_is_a_line_of_the_log_too(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "app.audit")
    client.post("/products", json={"id": "screws"}, headers=FIRST)
    (line,) = [one for one in caplog.records if one.name == "app.audit"]
    assert vars(line)["audit"]["things"] == ["screws"]
    assert "POST /products" in line.getMessage()


def test_odd_letters_in_a_path_are_no_reason_to_lose_records(any_database: Settings) -> None:
    with opened(any_database) as client:
        for name in ("%00", "%0a%1b[31m", "%f0%9f%94%91", "a" * 3000):
            client.delete(f"/products/{name}")
        found = [one["product"] for one in client.get("/audit").json()["data"]]
    unreadable = "\N{REPLACEMENT CHARACTER}"
    assert found == ["a" * 63, "\U0001f511", f"{unreadable * 2}[31m", unreadable]


def test_refusals_wait_for_a_database_that_is_away(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    trail = client.app.state.audit_trail  # type: ignore[attr-defined]

    def away(*_: object) -> Any:
        raise UnavailableError("away")

    with monkeypatch.context() as patched:
        patched.setattr("app.db.Database.write", away)
        assert_problem(client.get("/jobs"), 401)
        with pytest.raises(UnavailableError):
            trail.write(context_of(client).db)
    assert [one["status"] for one in read(client)] == [401]


def test_no_route_changes_or_deletes_records() -> None:
    assert [one.method for one in OPERATIONS if one.path.startswith("/audit")] == ["GET"]


def test_an_open_server_records_anybody(settings: Settings) -> None:
    with opened(settings) as client:
        client.post("/products", json={"id": "screws"})
        (record,) = client.get("/audit").json()["data"]
    assert (record["caller"], record["key"]) == ("anybody", None)


def test_the_things_are_found_on_each_database(any_context: AppContext) -> None:
    attempt = audit_trail.Attempt("POST /x", None, None, str, named=("ü_%", "job_1"))
    with any_context.recorded_by(attempt).db.write() as session:
        session.add(Product(id="p", name="p"))
    for thing, count in (("ü_%", 1), ("job_1", 1), ("job_", 0), ("ü__", 0)):
        page = list_records(
            any_context, Wanted(thing=thing, since=utc_now() - timedelta(1)), limit=5, after=None
        )
        assert len(page.data) == count


@pytest.mark.parametrize("moment", ["0.5", "1767225600", "-1", "1e3"])
def test_a_number_is_no_time(client: TestClient, moment: str) -> None:
    for name in ("since", "until"):
        assert_problem(client.get(f"/audit?{name}={moment}", headers=FIRST), 422)
    for expires_at in (moment, float(moment)):
        body = {"name": "x", "scopes": ["read"], "expires_at": expires_at}
        assert_problem(client.post("/api-keys", json=body, headers=FIRST), 422)
