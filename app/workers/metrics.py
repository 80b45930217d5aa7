"""A worker's own Prometheus metrics: what it runs, how fast, with how much memory, and what went wrong.

What all workers share, such as the queue, the API tells from the database.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from wsgiref.simple_server import WSGIServer

import psutil
from prometheus_client import (
    CollectorRegistry,
    Counter,
    ProcessCollector,
    disable_created_metrics,
    start_http_server,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from app.config import Settings
from app.host.gpus import read_gpu_loads
from app.schemas.progress_lines import AnyLine, StepLine
from app.storage.home import STORAGE_ERRORS, Storage

logger = logging.getLogger(__name__)


@dataclass
class RunningJob:
    """A job that runs now; ``pid`` of its child, ``beaten_at`` by ``time.monotonic``."""

    kind: str
    pid: int | None = None
    beaten_at: float = field(default_factory=time.monotonic)
    images_per_second: float | None = None


class WorkerMetrics:
    """Counters since the start of the process, and the jobs that run at the moment."""

    def __init__(self, storage: Storage | None = None) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._jobs: dict[str, RunningJob] = {}
        self._claims = self._counter("claims", "Jobs taken up.", "kind")
        self._attempts = self._counter(
            "attempts",
            "Attempts that ended: succeeded, released, cancelled, lost, or the code of the error.",
            "kind",
            "outcome",
        )
        self._errors = self._counter(
            "errors", "Errors met, by code: of attempts, and each time that the database was away.", "code"
        )
        self._steps = self._counter("training_steps", "Training steps done; its rate is the speed.")
        self._webhooks = self._counter("webhook_deliveries", "Attempts to send to a webhook.", "outcome")
        self.registry.register(_Now(self._jobs, storage))

    def claimed(self, kind: str) -> None:
        self._claims.labels(kind).inc()

    def met(self, code: str) -> None:
        self._errors.labels(code).inc()

    def sent_to_webhook(self, outcome: str) -> None:
        """``delivered`` or ``failed``."""
        self._webhooks.labels(outcome).inc()

    def reported(self, job: RunningJob, lines: Sequence[AnyLine]) -> None:
        """Progress lines of a child, once they are stored."""
        steps = [line for line in lines if isinstance(line, StepLine)]
        if steps:
            self._steps.inc(len(steps))
            job.images_per_second = steps[-1].images_per_second

    def ended(self, kind: str, outcome: str) -> None:
        self._attempts.labels(kind, outcome).inc()
        if outcome not in ("succeeded", "released", "cancelled"):
            self.met(outcome)

    @contextmanager
    def running(self, job_id: str, job: RunningJob) -> Iterator[None]:
        """The job counts as running during the block."""
        self._jobs[job_id] = job
        try:
            yield
        finally:
            del self._jobs[job_id]

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"loupe_worker_{name}", text, labels, registry=self.registry)


class _Now:
    """What is measured at the moment of a scrape."""

    def __init__(self, jobs: dict[str, RunningJob], storage: Storage | None) -> None:
        self._jobs, self._storage = jobs, storage

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        running = _gauge("running_jobs", "Jobs that run now.", "kind")
        memory = _gauge("children_resident_bytes", "Memory of the jobs' processes.", "kind")
        beats = _gauge("heartbeat_age_seconds", "Time since the oldest beat of a running job.", "kind")
        speed = _gauge("training_images_per_second", "Images trained on a second, over running trainings.")
        jobs = list(self._jobs.values())
        for kind in {job.kind for job in jobs}:
            of_kind = [job for job in jobs if job.kind == kind]
            running.add_metric([kind], len(of_kind))
            memory.add_metric([kind], sum(_resident_bytes(job.pid) for job in of_kind))
            beats.add_metric([kind], time.monotonic() - min(job.beaten_at for job in of_kind))
        speed.add_metric([], sum(job.images_per_second or 0.0 for job in jobs))
        errors = CounterMetricFamily("loupe_storage_errors", STORAGE_ERRORS)
        errors.add_metric([], self._storage.remote.failures if self._storage else 0)
        yield from (running, memory, beats, speed, errors)
        yield from _gpu_metrics()


def serve_metrics(settings: Settings, metrics: WorkerMetrics) -> WSGIServer | None:
    """Serves them in a thread, if a port is set. A port that is taken is said, and the worker works on."""
    if not settings.worker_metrics_port:
        return None
    host, port = settings.worker_metrics_host, settings.worker_metrics_port
    try:
        server, _ = start_http_server(port, host, metrics.registry)
        return server
    except OSError as error:
        logger.error("metrics are not served at %s:%d (LOUPE_WORKER_METRICS_PORT): %s", host, port, error)
        return None


def _gpu_metrics() -> Iterator[Metric]:
    total = GaugeMetricFamily("loupe_gpu_memory_bytes", "Memory of the GPU.", labels=["gpu", "name"])
    used = GaugeMetricFamily("loupe_gpu_memory_used_bytes", "Memory in use.", labels=["gpu", "name"])
    busy = GaugeMetricFamily(
        "loupe_gpu_utilization",
        "Share of the last second in which it computed, 0 to 1.",
        labels=["gpu", "name"],
    )
    for load in read_gpu_loads():
        labels = [load.id, load.name]
        for family, value in (
            (total, load.memory_bytes),
            (used, load.memory_used_bytes),
            (busy, load.utilization),
        ):
            if value is not None:
                family.add_metric(labels, value)
    yield from (total, used, busy)


def _resident_bytes(pid: int | None) -> int:
    """Of the child and what it has started, such as the replay of the test split."""
    total = 0
    with suppress(psutil.Error):
        if pid is not None:
            child = psutil.Process(pid)
            for process in (child, *child.children(recursive=True)):
                with suppress(psutil.Error):
                    total += process.memory_info().rss
    return total


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"loupe_worker_{name}", text, labels=labels)
