"""What this process has served, in Prometheus' terms: requests, predictions, errors, the model cache."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import Metric

from app.schemas.prediction import PredictionTiming

REQUEST_BUCKETS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0)
PREDICTION_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)
STAGE_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0)
ANSWERED = "answered"


class Measurements:
    """Counters since the start of the process. Labels come from us, never from a request as it was sent."""

    def __init__(self) -> None:
        # A second series beside each, for a protocol that few scrapers ask for.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._products: set[str] = set()
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Histogram(
            "loupe_http_request_seconds",
            "Time to the first byte of the answer, by route; `?wait=` waits on purpose.",
            ("method", "route", "status"),
            buckets=REQUEST_BUCKETS,
            registry=self.registry,
        )
        self.errors = Counter(
            "loupe_http_errors", "Errors answered, by code.", ("code",), registry=self.registry
        )
        self.limits = Counter(
            "loupe_limit_refusals",
            "Requests refused since their key had reached a limit, by limit.",
            ("limit",),
            registry=self.registry,
        )
        for limit in ("requests", "predictions", "uploads", "jobs", "images"):
            self.limits.labels(limit)
        self._predictions = Histogram(
            "loupe_prediction_seconds",
            "Time of a prediction request once received, by product and `answered` or the error's code.",
            ("product", "outcome"),
            buckets=PREDICTION_BUCKETS,
            registry=self.registry,
        )
        stages = Histogram(
            "loupe_prediction_stage_seconds",
            "Time by stage: loading a model that was not at hand; of each image, waiting for its turn, "
            "decoding, inference.",
            ("stage",),
            buckets=STAGE_BUCKETS,
            registry=self.registry,
        )
        self._load, self._queue, self._decode, self._inference = map(
            stages.labels, ("load", "queue", "decode", "inference")
        )
        self._decisions = Counter(
            "loupe_decisions",
            "Answers by product and `accept` or why they were rejected; of models with thresholds.",
            ("product", "decision"),
            registry=self.registry,
        )
        self._pictures = Counter(
            "loupe_predicted_pictures",
            "Images asked about, by product and `answered` or the error's code.",
            ("product", "outcome"),
            registry=self.registry,
        )

    def predicted(
        self, product: str, seconds: float, outcomes: Sequence[str], decisions: Sequence[str]
    ) -> None:
        """A request that was answered, with the outcome of each of its images, and what was decided."""
        self._products.add(product)
        self._predictions.labels(product, ANSWERED).observe(seconds)
        for outcome in outcomes:
            self._pictures.labels(product, outcome).inc()
        for decision in decisions:
            self._decisions.labels(product, decision).inc()

    def loaded(self, seconds: float) -> None:
        """How long a request waited for its model."""
        self._load.observe(seconds)

    def staged(self, timing: PredictionTiming) -> None:
        """How long each stage of one image took."""
        self._queue.observe(timing.queue_ms / 1000)
        self._decode.observe(timing.decode_ms / 1000)
        self._inference.observe(timing.inference_ms / 1000)

    def prediction_failed(self, product: str, seconds: float, code: str, pictures: int) -> None:
        """A request that was refused as a whole; ``product`` is empty where none was found."""
        if product:
            self._products.add(product)
        self._predictions.labels(product, code).observe(seconds)
        self._pictures.labels(product, code).inc(pictures)

    def keep_products(self, products: Collection[str]) -> None:
        """Forgets the series of all others: they would stay in memory, and in each scrape, for ever."""
        gone = self._products.difference(products)
        self._products -= gone
        for product in gone:
            self._predictions.remove_by_labels({"product": product})
            self._pictures.remove_by_labels({"product": product})
            self._decisions.remove_by_labels({"product": product})

    def collect(self) -> Iterator[Metric]:
        yield from self.registry.collect()
