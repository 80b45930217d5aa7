"""Keys and browser sessions: what a client sends and gets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.schemas.common import Request, Slug, Timestamp
from app.schemas.limits import Limits
from app.schemas.moments import Moment
from app.schemas.scopes import Scope

MAX_DAYS = 36_500
MAX_OVERLAP_SECONDS = 30 * 86_400


def _soon_enough(value: datetime) -> datetime:
    now = datetime.now(UTC)
    if not now < value <= now + timedelta(days=MAX_DAYS):
        raise ValueError("must be in the future, and within a hundred years")
    return value.astimezone(UTC)


class ApiKeyCreate(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "camera of line 2", "scopes": ["predict"], "products": ["steel-strip"]},
                {"name": "Prometheus", "scopes": ["read"], "expires_at": "2099-01-01T00:00:00Z"},
            ]
        }
    )

    name: str = Field(min_length=1, max_length=200, description="Who or what uses it, for people.")
    scopes: list[Scope] = Field(min_length=1, max_length=10, description="What it may do.")
    products: list[Slug] | None = Field(
        None,
        min_length=1,
        max_length=100,
        description="Ids of the products that it is bound to: for it, there are no others. Bound to none if "
        "not given.",
    )
    expires_at: Annotated[Moment, AfterValidator(_soon_enough)] | None = Field(
        None, description="When it ends, with its time zone. Never if not given."
    )
    limits: Limits | None = Field(None, description="What it may use up; the server's defaults if not given.")

    @model_validator(mode="after")
    def _admin_is_bound_to_none(self) -> ApiKeyCreate:
        if self.products is not None and "admin" in self.scopes:
            raise ValueError("a key with the scope admin cannot be bound to products")
        return self


class ApiKeyUpdate(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"limits": {"requests_per_minute": 600}}]})

    limits: Limits = Field(
        description="Limits to set; null takes one away, and the server's default counts then. Others stay."
    )


class ApiKeyRotate(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"overlap_seconds": 3600}]})

    overlap_seconds: int = Field(
        86_400, ge=0, le=MAX_OVERLAP_SECONDS, description="How long the secret before is good for."
    )


class ApiKey(BaseModel):
    id: str
    name: str
    prefix: str = Field(description="How the key begins, to recognise it by.")
    scopes: list[Scope]
    products: list[str] | None = Field(description="Products that it is bound to; null: to none.")
    limits: Limits = Field(description="Those that it states itself.")
    created_at: Timestamp
    expires_at: Timestamp | None
    last_used_at: Timestamp | None = Field(description="To the minute; null: never.")
    rotated_at: Timestamp | None
    previous_until: Timestamp | None = Field(
        description="Until when the secret before the last rotation is good."
    )


class NewApiKey(ApiKey):
    key: str = Field(description="The key itself. It is shown this once, and cannot be had again.")


class SessionCreate(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"key": "lp_…"}]})

    key: str = Field(min_length=1, max_length=1000, description="The key that the browser shows from now on.")


class Session(BaseModel):
    """Who a browser, or whoever asks, is signed in as. The cookie itself is in `Set-Cookie` alone."""

    name: str = Field(description="Name of the key.")
    scopes: list[Scope] = Field(description="What it may do, with all that is implied.")
    products: list[str] | None
    expires_at: Timestamp | None = Field(
        description="Null without a session: who asks shows a key, or the server asks for none."
    )
