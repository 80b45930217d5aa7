"""Uploads that go on after a cut: what a client gets."""

from __future__ import annotations

from pydantic import BaseModel, Field

from app.schemas.common import Timestamp


class Upload(BaseModel):
    id: str
    name: str
    length: int = Field(description="Bytes of the whole archive.")
    offset: int = Field(description="Bytes that are here and stay: the next PATCH begins there.")
    fingerprint: str | None = Field(
        description="What the client gave at the beginning, to find the upload of the same files again."
    )
    expires_at: Timestamp = Field(description="When it is deleted unless more of it comes.")
    dataset: str | None = Field(description="The dataset that it became; null until it is imported.")
