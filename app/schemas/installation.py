"""What ``loupe doctor`` finds, as a client gets it."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.schemas.common import Timestamp


class InstallationFinding(BaseModel):
    check: str = Field(description="What was looked at.")
    status: Literal["ok", "warning", "failed", "skipped"] = Field(
        description="`skipped`: it could not be looked at, since something that it needs failed."
    )
    detail: str
    hint: str | None = Field(description="What to do; null where all is well.")


class Installation(BaseModel):
    """The checks of `loupe doctor`, made on the host that answers."""

    ok: bool = Field(description="Whether nothing failed.")
    findings: list[InstallationFinding] = Field(description="In the order of the checks.")
    looked_at: Timestamp
