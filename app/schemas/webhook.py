"""Webhooks: what a client sends and gets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.schemas.common import Request, Slug, Timestamp
from app.schemas.webhook_events import EVENT_KINDS, EventType

Url = Annotated[
    str,
    Field(
        min_length=1,
        max_length=2048,
        description="Where messages are posted: http or https, without a user name. See LOUPE_WEBHOOK_HOSTS "
        "for which hosts may be named.",
        examples=["https://hooks.example/loupe"],
    ),
]
Events = Annotated[list[EventType], Field(min_length=1, max_length=50)]
Products = Annotated[list[Slug], Field(min_length=1, max_length=1000)]
Note = Annotated[str, Field(max_length=200)]

OF_NO_PRODUCT = ", ".join(f"`{name}`" for name, kind in EVENT_KINDS.items() if not kind.of_product)


class WebhookCreate(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"url": "https://hooks.example/loupe"},
                {
                    "url": "https://hooks.example/line2",
                    "events": ["job.ended", "champion.moved"],
                    "products": ["screws"],
                    "note": "Line 2's dashboard",
                },
            ]
        }
    )

    url: Url
    events: Events | None = Field(
        None, description="Types of events that it takes; all if not given, those of later releases too."
    )
    products: Products | None = Field(
        None,
        description=f"Only events of these products; all if not given. {OF_NO_PRODUCT} are of none, and go "
        "to webhooks without products alone.",
    )
    note: Note | None = Field(None, description="What it is for, for people.")

    @model_validator(mode="after")
    def _can_get_something(self) -> WebhookCreate:
        check_reachable(self.events, self.products)
        return self


class WebhookUpdate(Request):
    """What is not given stays."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"enabled": True}, {"events": ["job.ended"], "note": "Tests"}]}
    )

    url: Url | None = Field(None, description="Where messages are posted.")
    events: Events | None = Field(None, description="Types of events that it takes; null: all.")
    products: Products | None = Field(None, description="Only events of these products; null: all.")
    note: Note | None = Field(None, description="What it is for, for people.")
    enabled: bool | None = Field(
        None, description="Enabling it again also sends what was not delivered when it was disabled."
    )


def check_reachable(events: list[EventType] | None, products: list[str] | None) -> None:
    """Raises ValueError where a webhook of some products asks for events that are of none."""
    if products is None or events is None:
        return
    never = [event for event in events if not EVENT_KINDS[event].of_product]
    if never:
        raise ValueError(f"{', '.join(never)}: of no product, so a webhook with products never gets it")


class Webhook(BaseModel):
    id: str
    url: str
    events: list[str] | None = Field(description="Null: all.")
    products: list[str] | None = Field(description="Null: all.")
    note: str | None
    enabled: bool
    disabled_reason: str | None = Field(
        description="Why Loupe disabled it: the receiver answered 410, or took nothing for three days."
    )
    rotated_at: Timestamp | None = Field(
        description="When its secret was last changed; the one before signs too for 24 hours."
    )
    created_at: Timestamp


class WebhookWithSecret(Webhook):
    secret: str | None = Field(
        description="Verifies the signatures of messages. Shown here once, and never again; null where the "
        "answer to a repeated request comes after a rotation.",
    )


class WebhookDelivery(BaseModel):
    """One event on its way to one webhook."""

    id: str
    event: str = Field(description="Its id, `webhook-id` of the message; the same at every attempt.")
    type: str
    product: str | None
    status: Literal["pending", "delivered", "failed"] = Field(
        description="`failed`: it is not tried again unless you ask for it."
    )
    attempts: int
    status_code: int | None = Field(description="What the receiver answered last.")
    error: str | None = Field(description="What went wrong last, in words.")
    created_at: Timestamp
    attempted_at: Timestamp | None = Field(description="When the last attempt ended.")
    next_attempt_at: Timestamp | None = Field(
        description="Null once it is delivered or failed. While the webhook is disabled nothing is tried."
    )


class WebhookTest(BaseModel):
    """What came of a test message."""

    delivery: str
    delivered: bool
    status_code: int | None
    seconds: float
    error: str | None
    hint: str | None = Field(description="What to do about it.")
