"""Deliveries: each is made by one worker at a time, again after a failure, and given up at last."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from app.config import Settings
from app.context import AppContext
from app.jobs import webhook_deliveries
from app.jobs.webhook_deliveries import CLAIM_SECONDS, SCHEDULE_SECONDS, Claim, claim_due, deliver
from app.models import WebhookEvent
from app.models.base import db_now
from app.schemas.webhook import WebhookUpdate
from app.services import webhooks
from app.services.webhook_messages import Outcome
from tests.receivers import Receiver, receiving
from tests.services.webhook_rows import (
    add_webhook,
    age,
    deliveries,
    happen,
    let_pass,
    payloads,
    read_webhook,
)

DAY = 86_400


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"webhook_hosts": ("127.0.0.1",)})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def claim(context: AppContext) -> Claim:
    [found] = claim_due(context, busy=(), limit=10)
    return found


def attempt(context: AppContext) -> Outcome:
    return deliver(context, claim(context))


def waiting_seconds(context: AppContext) -> float:
    [delivery] = deliveries(context)
    assert delivery.next_attempt_at is not None
    with context.db.read() as session:
        return delivery.next_attempt_at - session.scalars(select(db_now())).one()


def test_what_happened_is_delivered_once_and_signed(any_context: AppContext, receiver: Receiver) -> None:
    webhook = add_webhook(any_context, receiver.url)
    happen(any_context)
    attempt(any_context)
    [delivery] = deliveries(any_context)
    [message] = receiver.messages
    verified = message.verify(read_webhook(any_context, webhook).secret)
    assert verified["type"] == "disk.low"
    assert verified["data"] == {"host": "here", "free_bytes": 1, "threshold_bytes": 2, "links": {}}
    assert message.id == delivery.event_id
    assert (delivery.status, delivery.attempts, delivery.status_code) == ("delivered", 1, 204)
    assert delivery.error is None
    assert delivery.attempted_at is not None
    let_pass(any_context, DAY)
    assert claim_due(any_context, busy=(), limit=10) == []


def test_of_many_workers_one_takes_a_delivery(any_context: AppContext) -> None:
    for _ in range(3):
        add_webhook(any_context)
    happen(any_context)
    together = threading.Barrier(6)

    def take(_: int) -> list[Claim]:
        together.wait()
        return claim_due(any_context, busy=(), limit=10)

    with ThreadPoolExecutor(6) as workers:
        taken = [one.delivery for claims in workers.map(take, range(6)) for one in claims]
    assert len(taken) == len(set(taken)) == 3


def test_of_each_webhook_the_oldest_is_taken_and_of_those_busy_none(context: AppContext) -> None:
    first, second = add_webhook(context), add_webhook(context)
    happen(context, times=3)
    oldest = [deliveries(context, webhook)[0].id for webhook in (first, second)]
    assert sorted(one.delivery for one in claim_due(context, busy=(), limit=10)) == sorted(oldest)
    assert [one.webhook for one in claim_due(context, busy=(first,), limit=10)] == [second]
    assert claim_due(context, busy=(first, second), limit=10) == []
    assert len(claim_due(context, busy=(), limit=1)) == 1


def test_an_attempt_whose_worker_is_lost_is_made_again_under_the_same_id(
    any_context: AppContext, receiver: Receiver
) -> None:
    add_webhook(any_context, receiver.url)
    happen(any_context)
    lost = claim(any_context)
    let_pass(any_context, CLAIM_SECONDS - 5)
    assert claim_due(any_context, busy=(), limit=10) == []
    let_pass(any_context, 6)
    attempt(any_context)
    # The one that was thought lost ends after all: it sends, and changes nothing.
    receiver.answer_with(500)
    deliver(any_context, lost)
    assert len(receiver.messages) == 2
    assert len(set(receiver.ids)) == 1
    [delivery] = deliveries(any_context)
    assert (delivery.status, delivery.attempts, delivery.status_code) == ("delivered", 2, 204)


def test_a_receiver_that_fails_is_tried_for_three_days_and_then_its_webhook_is_disabled(
    any_context: AppContext, receiver: Receiver
) -> None:
    webhook = add_webhook(any_context, receiver.url)
    watching = add_webhook(any_context, events=["webhook.disabled"])
    receiver.answer_with(503, b"down")
    happen(any_context)
    for made, wait in enumerate(SCHEDULE_SECONDS, start=1):
        attempt(any_context)
        [delivery] = deliveries(any_context)
        assert (delivery.status, delivery.attempts, delivery.status_code) == ("pending", made, 503)
        assert delivery.error == "It answered 503 (Service Unavailable): down"
        assert 0.9 * wait - 1 <= waiting_seconds(any_context) <= 1.1 * wait
        let_pass(any_context, 1.1 * wait)
    assert sum(SCHEDULE_SECONDS) > 3 * DAY
    attempt(any_context)
    ended, told = deliveries(any_context)
    assert (ended.status, ended.attempts, ended.next_attempt_at) == ("failed", 10, None)
    disabled = read_webhook(any_context, webhook)
    assert not disabled.is_enabled
    assert "10 attempts: It answered 503" in (disabled.disabled_reason or "")
    assert len(set(receiver.ids)) == 1
    assert told.webhook_id == watching
    assert payloads(any_context)[1]["webhook"] == webhook
    assert receiver.url not in str(payloads(any_context)[1])
    # Nothing more is written or sent for it.
    happen(any_context)
    let_pass(any_context, DAY)
    assert {one.webhook for one in claim_due(any_context, busy=(), limit=10)} == {watching}


def test_one_message_that_cannot_be_taken_does_not_disable_a_webhook_that_takes_others(
    context: AppContext, receiver: Receiver
) -> None:
    webhook = add_webhook(context, receiver.url)
    happen(context)
    receiver.answer_with(400)
    attempt(context)
    bad = receiver.ids[0]
    receiver.answer = lambda message: (400 if message.id == bad else 204, {}, b"")
    happen(context)
    assert attempt(context).status_code == 204
    for wait in SCHEDULE_SECONDS:
        let_pass(context, 1.1 * wait)
        assert attempt(context).status_code == 400
    assert [one.status for one in deliveries(context)] == ["failed", "delivered"]
    assert read_webhook(context, webhook).is_enabled


def test_gone_disables_at_once(context: AppContext, receiver: Receiver) -> None:
    webhook = add_webhook(context, receiver.url)
    receiver.answer_with(410)
    happen(context, times=2)
    attempt(context)
    assert [one.status for one in deliveries(context)] == ["failed", "pending"]
    assert "410" in (read_webhook(context, webhook).disabled_reason or "")
    let_pass(context, DAY)
    assert claim_due(context, busy=(), limit=10) == []


def test_a_webhook_may_be_deleted_at_the_moment_in_which_it_is_disabled(
    any_context: AppContext, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = add_webhook(any_context, receiver.url)
    receiver.answer_with(410)
    happen(any_context)
    disable = webhook_deliveries._disable
    with ThreadPoolExecutor(1) as pool:
        deleting: list[Future[None]] = []

        def disable_late(*values: Any) -> None:
            deleting.append(pool.submit(webhooks.delete_webhook, any_context, webhook))
            with suppress(TimeoutError):
                deleting[0].result(1)
            disable(*values)

        monkeypatch.setattr(webhook_deliveries, "_disable", disable_late)
        attempt(any_context)
        deleting[0].result()
    assert deliveries(any_context) == []


@pytest.mark.parametrize(
    ("status", "after", "least", "most"),
    [(429, "600", 599, 601), (503, "1", 3, 6), (502, "999999999", DAY - 1, DAY), (503, "soon", 3, 6)],
)
def test_a_receiver_says_how_long_to_wait_up_to_a_day(
    context: AppContext, receiver: Receiver, status: int, after: str, least: float, most: float
) -> None:
    add_webhook(context, receiver.url)
    receiver.answer_with(status, Retry_After=after)
    happen(context)
    attempt(context)
    assert least <= waiting_seconds(context) <= most


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_failure_that_says_so_and_is_not_followed(
    context: AppContext, receiver: Receiver, status: int
) -> None:
    add_webhook(context, receiver.url)
    with receiving() as other:
        receiver.answer_with(status, Location=other.url)
        happen(context)
        outcome = attempt(context)
        assert other.messages == []
    assert outcome.hint is not None
    assert "Redirects are not followed" in outcome.hint
    assert deliveries(context)[0].status == "pending"


def test_an_address_is_checked_again_at_each_attempt(context: AppContext, receiver: Receiver) -> None:
    """The setting was changed since the webhook was made."""
    add_webhook(context, receiver.url)
    happen(context)
    strict = AppContext.open(context.settings.model_copy(update={"webhook_hosts": ()}))
    deliver(strict, claim(strict))
    strict.close()
    assert receiver.messages == []
    assert "not a public address" in (deliveries(context)[0].error or "")


def test_a_delivery_that_is_asked_for_again_has_the_whole_schedule_again(
    context: AppContext, receiver: Receiver
) -> None:
    webhook = add_webhook(context, receiver.url)
    happen(context)
    attempt(context)
    [delivery] = deliveries(context)
    webhooks.retry_delivery(context, webhook, delivery.id)
    receiver.answer_with(500)
    attempt(context)
    [again] = deliveries(context)
    assert (again.status, again.attempts) == ("pending", 2)
    assert waiting_seconds(context) < 6
    assert len(set(receiver.ids)) == 1


def test_what_waited_while_a_webhook_was_disabled_is_sent_when_it_is_enabled(
    context: AppContext, receiver: Receiver
) -> None:
    webhook = add_webhook(context, receiver.url)
    happen(context)
    webhooks.update_webhook(context, webhook, WebhookUpdate(enabled=False))
    assert claim_due(context, busy=(), limit=10) == []
    webhooks.update_webhook(context, webhook, WebhookUpdate(enabled=True))
    attempt(context)
    assert deliveries(context)[0].status == "delivered"


def test_the_log_forgets_after_a_month_and_what_was_of_a_deleted_webhook(any_context: AppContext) -> None:
    kept, deleted = add_webhook(any_context), add_webhook(any_context)
    happen(any_context, times=2)
    old = deliveries(any_context, kept)[0]
    age(any_context, old.id, ago=timedelta(days=31))
    webhooks.delete_webhook(any_context, deleted)
    webhook_deliveries.forget_old_deliveries(any_context)
    [left] = deliveries(any_context)
    assert left.webhook_id == kept
    assert left.id != old.id
    with any_context.db.read() as session:
        assert session.scalar(select(func.count(WebhookEvent.id))) == 1


def test_a_webhook_that_is_deleted_while_something_happens_is_not_in_its_way(context: AppContext) -> None:
    webhook = add_webhook(context)
    happen(context)
    taken = claim(context)
    with context.db.write() as session:
        session.delete(read_webhook(context, webhook))
    outcome = Outcome(500, "It answered 500.", None, None, 0.1)
    with context.db.write() as session:
        webhook_deliveries._settle(session, taken, outcome)
    let_pass(context, DAY)
    assert claim_due(context, busy=(), limit=10) == []


def test_an_attempt_that_breaks_off_in_a_way_that_nobody_foresaw_follows_the_schedule(
    context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> Outcome:
        raise RuntimeError("a bug")

    monkeypatch.setattr(webhook_deliveries, "send", breaks)
    add_webhook(context)
    happen(context)
    attempt(context)
    [delivery] = deliveries(context)
    assert delivery.status == "pending"
    assert "broke off" in (delivery.error or "")
    assert waiting_seconds(context) < 6
