"""``GET /metrics``: for Prometheus"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder

from app import __version__
from app.api.dependencies import ContextDep, ModelCacheDep, TurnsDep
from app.api.measurements import Measurements
from app.api.routes import CheckedRoute
from app.context import AppContext
from app.errors import LoupeError
from app.inference.cache import ModelCache
from app.inference.turns import Turns
from app.job_queue import QUEUES
from app.schemas.job_kinds import JOB_KINDS
from app.services.job_states import TRANSITIONS
from app.services.statistics import DURATION_BUCKETS, Statistics, gather_statistics
from app.storage.home import STORAGE_ERRORS

logger = logging.getLogger(__name__)
router = APIRouter(tags=["operation"], route_class=CheckedRoute)


def get_measurements(request: Request) -> Measurements:
    measurements: Measurements = request.app.state.measurements
    return measurements


class Scrape:
    """One scrape's metrics, in the form that an encoder takes."""

    def __init__(self, metrics: Iterator[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return self._metrics


@router.get("/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
def get_metrics(
    context: ContextDep,
    cache: ModelCacheDep,
    turns: TurnsDep,
    measurements: Annotated[Measurements, Depends(get_measurements)],
    accept: Annotated[str, Header()] = "",
) -> Response:
    """Metrics for Prometheus: jobs, queues, workers and models from the database; requests of this process.

    While the database is away `loupe_database_up` is 0, and what is read from it is missing.
    """
    encode, media_type = choose_encoder(accept)
    metrics = chain(
        measurements.collect(),
        _of_this_process(context, cache, turns),
        _of_the_database(context),
        _of_redis(context),
    )
    return Response(encode(Scrape(metrics)), headers={"Content-Type": media_type})


def _of_this_process(context: AppContext, cache: ModelCache, turns: Turns) -> Iterator[Metric]:
    yield InfoMetricFamily("loupe_build", "The release that runs.", {"version": __version__})
    yield _gauge("loupe_model_cache_bytes", "Memory of the models that are loaded.", cache.nbytes)
    yield _gauge("loupe_prediction_images_waiting", "Images that wait or are worked on.", turns.waiting)
    yield _gauge(
        "loupe_prediction_decode_bytes", "Memory that large images may take now.", turns.decoding_bytes
    )
    yield _gauge("loupe_model_cache_models", "Models that are loaded.", len(cache.loaded()))
    loads = CounterMetricFamily(
        "loupe_model_loads", "Models that were loaded, by outcome.", labels=["outcome"]
    )
    loads.add_metric(["loaded"], cache.loads)
    loads.add_metric(["failed"], cache.failures)
    yield loads
    evictions = CounterMetricFamily(
        "loupe_model_evictions", "Models that left memory since others needed it."
    )
    evictions.add_metric([], cache.evictions)
    yield evictions
    errors = CounterMetricFamily("loupe_storage_errors", STORAGE_ERRORS)
    errors.add_metric([], context.storage.remote.failures)
    yield errors
    free = GaugeMetricFamily("loupe_disk_free_bytes", "Free space where LOUPE_HOME lives.")
    total = GaugeMetricFamily("loupe_disk_bytes", "Size of the disk where LOUPE_HOME lives.")
    try:
        usage = shutil.disk_usage(context.settings.home)
        free.add_metric([], usage.free)
        total.add_metric([], usage.total)
    except OSError as error:
        logger.warning("metrics: the disk of %s: %s", context.settings.home, error)
    yield from (free, total)


def _of_the_database(context: AppContext) -> Iterator[Metric]:
    up, found = 0, None
    try:
        found = gather_statistics(context)
        up = 1
    except LoupeError as error:
        logger.warning("metrics: %s", error.detail)
    except Exception:
        # A scrape tells that something is wrong, whatever it is, such as a schema that is not migrated.
        logger.exception("metrics: the database's part is missing")
    yield _gauge("loupe_database_up", "1 when the database answered this scrape.", up)
    if found is not None:
        yield from _from_statistics(found)


def _of_redis(context: AppContext) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("loupe_redis_messages", "Jobs announced in Redis.", labels=["queue"])
    is_up = context.queue.is_up()
    for queue in QUEUES if is_up else ():
        if (length := context.queue.length(queue)) is not None:
            waiting.add_metric([queue], length)
    yield _gauge(
        "loupe_redis_up", "1 when Redis answered this scrape; jobs are kept while it is away.", is_up
    )
    yield waiting


def _from_statistics(found: Statistics) -> Iterator[Metric]:
    # Zeros are given too: a series that begins with its first failure has no increase to alert on.
    every = {(kind, status): 0 for kind in JOB_KINDS for status in TRANSITIONS}
    queues = dict.fromkeys(QUEUES, 0.0)
    yield _labelled("loupe_jobs", "Jobs by kind and status.", ("kind", "status"), {**every, **found.jobs})
    yield _labelled("loupe_jobs_failed", "Failed jobs by the error's code.", ("kind", "code"), found.failures)
    yield _durations(found)
    yield _labelled(
        "loupe_queue_oldest_seconds",
        "How long the job that has waited longest has waited.",
        ("queue",),
        {**queues, **found.oldest_queued_seconds},
    )
    yield _labelled(
        "loupe_lease_age_seconds",
        "Time since the oldest beat of a running job.",
        ("kind",),
        {**dict.fromkeys(JOB_KINDS, 0.0), **found.lease_age_seconds},
    )
    yield _gauge("loupe_training_images_per_second", "Images trained on a second.", found.images_per_second)
    yield _labelled(
        "loupe_workers", "Worker processes, alive or lost.", ("queue", "status", "version"), found.workers
    )
    yield _labelled(
        "loupe_worker_slots", "Jobs that living workers run at a time.", ("queue",), {**queues, **found.slots}
    )
    yield _labelled("loupe_datasets", "Datasets by status.", ("status",), found.datasets)
    yield _labelled("loupe_models", "Models by product.", ("product",), found.models)
    yield _labelled(
        "loupe_champion_accuracy",
        "Accuracy of the product's champion in its final test.",
        ("product",),
        found.champion_accuracy,
    )


def _durations(found: Statistics) -> Metric:
    family = HistogramMetricFamily(
        "loupe_job_duration_seconds",
        "Time from a job's first start to its end, over the jobs that are in the database.",
        labels=["kind", "status"],
    )
    for labels, durations in found.durations.items():
        buckets = [
            (str(limit), count) for limit, count in zip(DURATION_BUCKETS, durations.at_most, strict=True)
        ]
        family.add_metric(list(labels), [*buckets, ("+Inf", durations.count)], durations.seconds)
    return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _labelled(name: str, text: str, labels: tuple[str, ...], values: Mapping[Any, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():
        family.add_metric([key] if isinstance(key, str) else list(key), value)
    return family
