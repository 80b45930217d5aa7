"""Workers: what a client gets."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.schemas.common import Timestamp


class WorkerGpu(BaseModel):
    id: str = Field(description="Its UUID, or that of a slice (MIG), as the driver names it.")
    name: str
    index: int | None = Field(description="Its number on the machine; null for a slice.")
    memory_bytes: int | None


class WorkerDevices(BaseModel):
    cpu_cores: int = Field(description="Cores that the process may use.")
    memory_bytes: int = Field(description="Memory of the machine, or the container's limit.")
    gpus: list[WorkerGpu] = Field(description="Those that it trains on.")


class WorkerJob(BaseModel):
    id: str
    kind: str
    product: str
    stage: str | None
    fraction: float | None = Field(description="How much of it is done, 0 to 1.")


class Worker(BaseModel):
    id: str
    status: Literal["alive", "lost"] = Field(
        description="`lost`: no beat for LOUPE_LEASE_SECONDS. Gone when it ends, or after a day."
    )
    host: str
    pid: int
    queue: str
    concurrency: int = Field(description="Jobs that it runs at a time.")
    version: str = Field(description="The release that it runs.")
    devices: WorkerDevices
    jobs: list[WorkerJob] = Field(description="What it runs now.")
    started_at: Timestamp
    last_beat_at: Timestamp = Field(description="By the database's clock.")
    beat_age_seconds: float
