"""``/webhooks``: their secrets are shown once, their addresses checked, their log read."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select, text

from app.config import Settings
from app.context import AppContext
from app.jobs import webhook_deliveries
from app.models import IdempotencyKey
from tests.api.test_problems import assert_problem
from tests.clients import local_client
from tests.host.test_outgoing import FORMS_OF_LOOPBACK, NO_URLS
from tests.receivers import Receiver, receiving
from tests.services.webhook_rows import happen
from tests.waiting import wait_for

HOOK = "https://203.0.112.1/hook"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_hosts": ("127.0.0.1", "*")})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def make(client: TestClient, url: str, **more: Any) -> dict[str, Any]:
    answer = client.post("/webhooks", json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/webhooks/{answer.json()['id']}"
    return dict(answer.json())


def deliver_all(context: AppContext) -> None:
    while claims := webhook_deliveries.claim_due(context, busy=(), limit=10):
        for claim in claims:
            webhook_deliveries.deliver(context, claim)


def test_the_secret_is_shown_once_and_nowhere_again(client: TestClient, receiver: Receiver) -> None:
    made = make(client, receiver.url, note="Line 2")
    secret = made.pop("secret")
    path = f"/webhooks/{made['id']}"
    client.post(f"{path}/test")
    for url in ("/webhooks", path, f"{path}/deliveries", "/metrics"):
        answer = client.get(url)
        assert answer.status_code == 200
        assert secret not in answer.text
    assert client.get(path).json() == client.get("/webhooks").json()["data"][0] == made
    assert secret not in client.patch(path, json={"note": "x"}).text


def test_a_repeated_request_gets_the_same_webhook_and_its_secret_lies_in_no_second_place(
    client: TestClient, context: AppContext
) -> None:
    key = {"idempotency-key": "once"}
    first, again = (client.post("/webhooks", json={"url": HOOK}, headers=key) for _ in range(2))
    assert first.json() == again.json()
    with context.db.read() as session:
        [kept] = session.scalars(select(IdempotencyKey))
        assert first.json()["secret"] not in str(kept.answer)
    client.post(f"/webhooks/{first.json()['id']}/rotate")
    later = client.post("/webhooks", json={"url": HOOK}, headers=key).json()
    assert later == {**first.json(), "secret": None}


def test_a_rotated_secret_signs_beside_the_old_one(client: TestClient, receiver: Receiver) -> None:
    made = make(client, receiver.url)
    path = f"/webhooks/{made['id']}"
    rotated = client.post(f"{path}/rotate").json()
    assert rotated["rotated_at"] is not None
    client.post(f"{path}/test")
    for secret in (made["secret"], rotated["secret"]):
        assert receiver.messages[0].verify(secret)["type"] == "webhook.test"


def test_an_address_that_may_not_be_called_is_refused_when_made_and_when_changed(
    context: AppContext,
) -> None:
    with local_client(context.settings.model_copy(update={"webhook_hosts": ()})) as client:
        made = make(client, HOOK)
        for url in (*FORMS_OF_LOOPBACK, *NO_URLS):
            problem = assert_problem(client.post("/webhooks", json={"url": url}), 422)
            assert problem["code"] in ("address_refused", "invalid_request"), url
            assert problem["hint"], url
            assert_problem(client.patch(f"/webhooks/{made['id']}", json={"url": url}), 422)
        assert [row["url"] for row in client.get("/webhooks").json()["data"]] == [HOOK]


def test_a_name_that_cannot_be_looked_up_now_is_taken_and_checked_later(client: TestClient) -> None:
    made = make(client, "http://no-such-host.invalid/")
    outcome = client.post(f"/webhooks/{made['id']}/test").json()
    assert outcome["delivered"] is False
    assert "cannot be looked up" in outcome["error"]


def test_events_and_products_that_are_not_there_and_those_that_exclude_each_other_are_refused(
    client: TestClient,
) -> None:
    client.post("/products", json={"id": "screws"})
    for body, said in (
        ({"events": ["job.begun"]}, "/events/0"),
        ({"events": []}, "/events"),
        ({"products": ["none"]}, "/products/0"),
        ({"products": ["screws"], "events": ["disk.low"]}, "disk.low"),
    ):
        problem = assert_problem(client.post("/webhooks", json={"url": HOOK, **body}), 422)
        assert said in str(problem)
    made = make(client, HOOK, products=["screws", "screws"], events=["job.ended"])
    assert made["products"] == ["screws"]
    path = f"/webhooks/{made['id']}"
    assert_problem(client.patch(path, json={"events": ["disk.low"]}), 422)
    assert client.patch(path, json={"products": None, "events": ["disk.low"]}).json()["products"] is None


def test_there_may_be_a_hundred(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.services.webhooks.MOST_WEBHOOKS", 2)
    for _ in range(2):
        make(client, HOOK)
    assert_problem(client.post("/webhooks", json={"url": HOOK}), 409)


def test_the_log_says_what_was_sent_when_and_what_came_of_it(
    client: TestClient, context: AppContext, receiver: Receiver
) -> None:
    made = make(client, receiver.url)
    path = f"/webhooks/{made['id']}"
    happen(context, times=2)
    deliver_all(context)
    receiver.answer_with(500, b"no")
    happen(context)
    deliver_all(context)
    newest = client.get(f"{path}/deliveries?limit=1").json()
    [failing] = newest["data"]
    assert (failing["type"], failing["status"], failing["attempts"]) == ("disk.low", "pending", 1)
    assert (failing["status_code"], failing["error"]) == (500, "It answered 500 (Internal Server Error): no")
    assert failing["event"] == receiver.ids[-1]
    assert failing["next_attempt_at"] > failing["attempted_at"] > failing["created_at"]
    older = client.get(f"{path}/deliveries?after={newest['next_cursor']}").json()
    assert [row["status"] for row in older["data"]] == ["delivered", "delivered"]
    assert older["data"][0]["next_attempt_at"] is None
    receiver.answer_with(200)
    for row in (failing, older["data"][0]):
        answer = client.post(f"{path}/deliveries/{row['id']}/retry")
        assert answer.status_code == 202
        assert answer.json()["status"] == "pending"
    deliver_all(context)
    assert sorted(receiver.ids[-2:]) == sorted([failing["event"], older["data"][0]["event"]])
    other = make(client, receiver.url)
    assert_problem(client.post(f"/webhooks/{other['id']}/deliveries/{failing['id']}/retry"), 404)


def test_a_test_says_at_once_what_came_of_it_and_is_in_the_log(
    client: TestClient, receiver: Receiver
) -> None:
    made = make(client, receiver.url, events=["job.ended"])
    path = f"/webhooks/{made['id']}"
    outcome = client.post(f"{path}/test").json()
    assert outcome["delivered"] is True
    assert outcome["error"] is outcome["hint"] is None
    assert receiver.messages[0].verify(made["secret"])["data"]["webhook"] == made["id"]
    receiver.answer_with(404)
    client.patch(path, json={"enabled": False})
    outcome = client.post(f"{path}/test").json()
    assert (outcome["delivered"], outcome["status_code"]) == (False, 404)
    assert outcome["hint"] == "Is the path of the URL right?"
    log = client.get(f"{path}/deliveries").json()["data"]
    assert [(row["type"], row["status"], row["next_attempt_at"]) for row in log] == [
        ("webhook.test", "failed", None),
        ("webhook.test", "delivered", None),
    ]
    assert log[0]["id"] == outcome["delivery"]


def test_gone_says_why_and_enabling_it_again_forgets_that(
    client: TestClient, context: AppContext, receiver: Receiver
) -> None:
    path = f"/webhooks/{make(client, receiver.url)['id']}"
    receiver.answer_with(410)
    happen(context)
    deliver_all(context)
    found = client.get(path).json()
    assert (found["enabled"], "410" in found["disabled_reason"]) == (False, True)
    [delivery] = client.get(f"{path}/deliveries").json()["data"]
    problem = assert_problem(client.post(f"{path}/deliveries/{delivery['id']}/retry"), 409)
    assert "Enable it first" in problem["hint"]
    found = client.patch(path, json={"enabled": True}).json()
    assert (found["enabled"], found["disabled_reason"]) == (True, None)


def test_a_deleted_webhook_is_gone_with_its_log(
    client: TestClient, context: AppContext, receiver: Receiver
) -> None:
    path = f"/webhooks/{make(client, receiver.url)['id']}"
    happen(context)
    assert client.delete(path).status_code == 204
    assert_problem(client.get(path), 404)
    deliver_all(context)
    assert receiver.messages == []
    with context.db.read() as session:
        assert session.execute(text("SELECT count(*) FROM webhook_deliveries")).scalar() == 0


def test_tests_do_not_take_all_threads_of_the_api(client: TestClient, receiver: Receiver) -> None:
    path = f"/webhooks/{make(client, receiver.url)['id']}/test"
    receiver.hang()
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(client.post, path) for _ in range(4)]
        wait_for(lambda: len(receiver.messages) == 4, 10, "four tests")
        answer = client.post(path)
        assert_problem(answer, 503)
        assert answer.headers["retry-after"]
        receiver.let_go.set()
        assert all(one.result().json()["delivered"] for one in waiting)
    assert client.post(path).json()["delivered"] is True
