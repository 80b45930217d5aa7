"""What a key may use up, and how each limit is counted."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import ConfigDict, Field

from app.schemas.common import Request
from app.schemas.numbers import MOST

# The largest integer of a structured field in a header.
MOST_BYTES = 10**15 - 1


class Limits(Request):
    """Each is optional. One that a key does not state is as the server's settings say, or none."""

    model_config = ConfigDict(
        frozen=True, json_schema_extra={"examples": [{"requests_per_minute": 600, "concurrent_jobs": 2}]}
    )

    requests_per_minute: int | None = Field(None, ge=1, le=MOST, description="Requests of any kind.")
    predictions_per_minute: int | None = Field(None, ge=1, le=MOST, description="Images predicted.")
    upload_bytes_per_day: int | None = Field(
        None, ge=1, le=MOST_BYTES, description="Bytes of archives sent, also of uploads that failed."
    )
    concurrent_jobs: int | None = Field(None, ge=1, le=MOST, description="Jobs that are queued or running.")
    stored_images: int | None = Field(
        None, ge=1, le=MOST, description="Images in the datasets that it imported."
    )

    def or_else(self, defaults: Limits) -> Limits:
        """These limits, and ``defaults`` where they state none."""
        return defaults.model_copy(update=self.model_dump(exclude_none=True))


NO_LIMITS = Limits()


@dataclass(frozen=True)
class Rate:
    """A limit in a window of time. ``unit``: of the draft's registry, or None for requests."""

    field: str
    name: str
    window_seconds: int
    noun: str
    unit: str | None = None


REQUESTS = Rate("requests_per_minute", "requests", 60, "requests a minute")
PREDICTIONS = Rate("predictions_per_minute", "predictions", 60, "images a minute", "images")
UPLOADS = Rate("upload_bytes_per_day", "uploads", 86_400, "bytes uploaded a day", "content-bytes")
