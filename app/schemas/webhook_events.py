"""What a webhook can be sent. A new type is a line here, and a function of ``services/webhook_events.py``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

EventType = Literal[
    "job.ended",
    "sweep.ended",
    "dataset.ready",
    "dataset.failed",
    "champion.moved",
    "model.failed_gate",
    "model.not_loaded",
    "disk.low",
    "webhook.disabled",
]

TEST = "webhook.test"
"""Sent by the test of a webhook alone; nobody subscribes to it."""


@dataclass(frozen=True)
class EventKind:
    """``of_product``: whether it happens to a product, so that webhooks of other products do not get it."""

    says: str
    of_product: bool = True


EVENT_KINDS: dict[EventType, EventKind] = {
    "job.ended": EventKind("A job of any kind succeeded, failed or was cancelled."),
    "sweep.ended": EventKind("A sweep succeeded, failed or was cancelled."),
    "dataset.ready": EventKind("An import succeeded: its dataset can be trained on."),
    "dataset.failed": EventKind("An import failed or was cancelled."),
    "champion.moved": EventKind("Another model of a product answers its predictions now."),
    "model.failed_gate": EventKind("A training's model did not reach its least accuracy."),
    "model.not_loaded": EventKind(
        "A model that an alias has moved to cannot be loaded where it is to answer: the one before goes on "
        "answering there. Each process of the API says it for itself."
    ),
    "disk.low": EventKind("The disk of a home folder has less space left than set.", of_product=False),
    "webhook.disabled": EventKind("Loupe gave up on another webhook.", of_product=False),
}

assert get_args(EventType) == tuple(EVENT_KINDS)
