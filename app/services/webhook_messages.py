"""One message to one webhook: signed by the convention of Standard Webhooks, sent once, and what came of it.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from http.client import responses
from secrets import token_bytes
from typing import Any

import standardwebhooks

from app import __version__
from app.errors import AddressRefusedError
from app.host.outgoing import Answer, Destination, NoAnswerError, Reach, post
from app.host.retry_after import read_retry_after
from app.models import Webhook
from app.models.base import utc_now

ANSWER_SECONDS = 10.0
"""For all of it: the lookup, the connection and the answer."""
SECRET_BYTES = 32
OLD_SECRET_HOURS = 24
SHOWN_CHARACTERS = 200
REMEDIES: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "The receiver wants a password, or it has another secret than this webhook.",
    HTTPStatus.FORBIDDEN: "The receiver wants a password, or it has another secret than this webhook.",
    HTTPStatus.NOT_FOUND: "Is the path of the URL right?",
    HTTPStatus.METHOD_NOT_ALLOWED: "The receiver must take POST at this path.",
    HTTPStatus.GONE: "The receiver does not want messages any more; a delivery would disable the webhook.",
}
REDIRECTED = "Redirects are not followed: change the URL of the webhook to where the answer points."


@dataclass(frozen=True)
class Message:
    """An event as it is sent, with the same id at every attempt."""

    id: str
    payload: Mapping[str, Any]


@dataclass(frozen=True)
class Outcome:
    """``error``: a sentence; None where the receiver took the message."""

    status_code: int | None
    error: str | None
    hint: str | None
    retry_after_seconds: float | None
    seconds: float

    @property
    def is_gone(self) -> bool:
        """Whether the receiver asks for no more messages."""
        return self.status_code == HTTPStatus.GONE


def new_secret() -> str:
    return f"whsec_{b64encode(token_bytes(SECRET_BYTES)).decode()}"


def secrets_of(webhook: Webhook) -> tuple[str, ...]:
    """The newest first. The one before a rotation goes on signing for a day, so that no message is lost."""
    until = webhook.rotated_at and webhook.rotated_at + timedelta(hours=OLD_SECRET_HOURS)
    if webhook.old_secret is None or until is None or until < utc_now():
        return (webhook.secret,)
    return (webhook.secret, webhook.old_secret)


def send(
    url: str, secrets: Sequence[str], message: Message, reach: Reach, *, seconds: float = ANSWER_SECONDS
) -> Outcome:
    """Sends a message once. Whatever goes wrong is an outcome."""
    body = json.dumps(message.payload, ensure_ascii=False, separators=(",", ":"))
    headers = {
        "Content-Type": "application/json",
        "User-Agent": f"Loupe/{__version__}",
        "Connection": "close",
        **sign(secrets, message.id, utc_now(), body),
    }
    began = time.monotonic()
    try:
        answer = post(Destination.of(url), reach, headers, body.encode(), seconds=seconds)
    except AddressRefusedError as error:
        return Outcome(None, error.detail, error.hint, None, time.monotonic() - began)
    except NoAnswerError as error:
        hint = "Is the receiver running, and can the worker's machine reach it?"
        return Outcome(None, str(error), hint, None, time.monotonic() - began)
    return _judge(answer, time.monotonic() - began)


def sign(secrets: Sequence[str], message_id: str, sent_at: datetime, body: str) -> dict[str, str]:
    """The three headers; one signature for each secret."""
    # The library takes the numbers of any time zone for those of UTC.
    sent_at = sent_at.astimezone(UTC)
    signatures = [standardwebhooks.Webhook(secret).sign(message_id, sent_at, body) for secret in secrets]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _judge(answer: Answer, seconds: float) -> Outcome:
    if 200 <= answer.status < 300:
        return Outcome(answer.status, None, None, None, seconds)
    hint = REDIRECTED if 300 <= answer.status < 400 else REMEDIES.get(answer.status)
    return Outcome(answer.status, _describe(answer), hint, read_retry_after(answer.retry_after), seconds)


def _describe(answer: Answer) -> str:
    shown = "".join(one if one.isprintable() else " " for one in answer.text)
    shown = " ".join(shown.split())[:SHOWN_CHARACTERS]
    known = responses.get(answer.status)
    status = f"{answer.status} ({known})" if known else str(answer.status)
    return f"It answered {status}" + (f": {shown}" if shown else ".")
