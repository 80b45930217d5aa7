"""The audit: what a client gets."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.schemas.common import Timestamp

Outcome = Literal["done", "unchanged", "refused", "failed"]


class AuditRecord(BaseModel):
    id: str
    at: Timestamp
    key: str | None = Field(description="Id of the key; null for LOUPE_API_KEY and where no key is known.")
    caller: str | None = Field(
        description="Name of the key at that time. Null: whoever asked showed no key that is known."
    )
    by_session: bool = Field(description="Whether a browser's session stood for the key.")
    action: str = Field(description="Method and route, such as `DELETE /jobs/{job}`.")
    product: str | None
    things: list[str] = Field(description="What the path names, then what was made.")
    outcome: Outcome = Field(
        description="`done`: something was changed. `unchanged`: allowed, and nothing was to be changed. "
        "`refused`: answered with 4xx. `failed`: with 5xx."
    )
    status: int = Field(description="Status of the answer.")
    address: str | None = Field(description="Address of the client.")
    request_id: str | None
    times: int = Field(description="How many attempts this stands for: refusals of one minute are counted.")
