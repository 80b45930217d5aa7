"""Signed messages: by the convention's own example, and as its library verifies them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
import standardwebhooks

from app.host.outgoing import Reach
from app.models import Webhook
from app.models.base import utc_now
from app.services.webhook_messages import Message, new_secret, secrets_of, send, sign
from tests.receivers import Receiver, receiving

HERE = Reach(("127.0.0.1",))
MESSAGE = Message("evt_1", {"type": "webhook.test", "data": {"name": "Schräubchen"}})


def test_the_published_example_has_the_published_signature() -> None:
    # standard-webhooks/standard-webhooks, libraries/python/tests/test_webhooks.py
    secret, sent_at = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", datetime.fromtimestamp(1614265330, UTC)
    headers = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", sent_at, '{"test": 2432232314}')
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    elsewhere = sent_at.astimezone(timezone(timedelta(hours=7)))
    assert sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", elsewhere, '{"test": 2432232314}') == headers


def test_a_message_is_verified_with_each_of_its_secrets_and_with_no_other() -> None:
    first, second = new_secret(), new_secret()
    with receiving() as receiver:
        outcome = send(receiver.url, (second, first), MESSAGE, HERE)
        assert (outcome.status_code, outcome.error) == (204, None)
        [message] = receiver.messages
        assert message.id == "evt_1"
        assert message.verify(first) == message.verify(second) == MESSAGE.payload
        with pytest.raises(standardwebhooks.WebhookVerificationError):
            message.verify(new_secret())
        assert message.headers["content-type"] == "application/json"
        assert message.headers["user-agent"].startswith("Loupe/")


def test_a_secret_is_long_random_and_in_the_published_form() -> None:
    assert len({new_secret() for _ in range(100)}) == 100
    assert new_secret().startswith("whsec_")
    assert standardwebhooks.Webhook(new_secret())


@pytest.mark.parametrize(("hours", "count"), [(23, 2), (25, 1)])
def test_the_old_secret_signs_for_a_day_after_a_rotation(hours: int, count: int) -> None:
    rotated = utc_now() - timedelta(hours=hours)
    assert len(secrets_of(Webhook(secret="new", old_secret="old", rotated_at=rotated))) == count
    assert secrets_of(Webhook(secret="only")) == ("only",)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, b"bad\r\n\x1b[31msignature\x00", "It answered 400 (Bad Request): bad [31msignature"),
        (302, b"", "It answered 302 (Found)."),
        (599, b"x" * 1000, f"It answered 599: {'x' * 200}"),
        (500, "ä".encode("latin-1"), "It answered 500 (Internal Server Error): �"),
    ],
)
def test_a_refusal_is_told_in_words_that_are_safe_to_print(status: int, body: bytes, error: str) -> None:
    with receiving() as receiver:
        receiver.answer_with(status, body)
        outcome = send(receiver.url, (new_secret(),), MESSAGE, HERE)
    assert (outcome.status_code, outcome.error) == (status, error)
    assert outcome.hint is None or "Redirects are not followed" in outcome.hint


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("-5", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00", None),
        ("9" * 400, float("inf")),
    ],
)
def test_retry_after_is_read_as_seconds_and_as_a_past_date(header: str, seconds: float | None) -> None:
    with receiving() as receiver:
        receiver.answer_with(503, Retry_After=header)
        outcome = send(receiver.url, (new_secret(),), MESSAGE, HERE)
    if seconds is None:
        assert outcome.retry_after_seconds is None
    else:
        assert outcome.retry_after_seconds == pytest.approx(seconds, abs=30)


def test_retry_after_is_read_as_a_date_to_come() -> None:
    with receiving() as receiver:
        receiver.answer_with(503, Retry_After=format_datetime(utc_now() + timedelta(minutes=10), usegmt=True))
        outcome = send(receiver.url, (new_secret(),), MESSAGE, HERE)
    assert outcome.retry_after_seconds == pytest.approx(600, abs=30)


def test_an_address_that_is_refused_and_a_receiver_that_is_away_are_outcomes() -> None:
    receiver: Receiver
    with receiving() as receiver:
        outcome = send(receiver.url, (new_secret(),), MESSAGE, Reach())
        assert outcome.error == "127.0.0.1 is 127.0.0.1, which is not a public address."
        assert "LOUPE_WEBHOOK_HOSTS" in (outcome.hint or "")
        receiver.hang()
        outcome = send(receiver.url, (new_secret(),), MESSAGE, HERE, seconds=0.3)
        assert outcome.error == "No whole answer came within 0.3 seconds."
    assert outcome.status_code is None
