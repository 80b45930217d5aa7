"""Sends to webhooks what is due: one thread that looks, and one for each message on its way."""

from __future__ import annotations

import logging
import threading
import time

from app.context import AppContext
from app.errors import LoupeError
from app.jobs import low_disk, webhook_deliveries
from app.jobs.webhook_deliveries import Claim
from app.workers.metrics import WorkerMetrics

logger = logging.getLogger(__name__)

ROUND_SECONDS = 1.0
PATIENCE_SECONDS = 5.0
"""After a round that failed: an outage need not be said every second."""
DISK_SECONDS = 60.0
MOST_AT_ONCE = 8


class WebhookThread(threading.Thread):
    """Runs until ``shutdown`` is set. At most one message of a webhook is on its way from this process."""

    def __init__(self, context: AppContext, shutdown: threading.Event, metrics: WorkerMetrics) -> None:
        super().__init__(name="webhooks", daemon=True)
        self._context = context
        self._shutdown = shutdown
        self._metrics = metrics
        self._busy: set[str] = set()
        self._ended = threading.Event()
        self._disk_next = time.monotonic()

    def run(self) -> None:
        while not self._shutdown.is_set():
            try:
                self._round()
            except LoupeError as error:
                logger.warning("webhooks: %s", error.detail)
                self._shutdown.wait(PATIENCE_SECONDS)
            except Exception:
                logger.exception("webhooks: a round failed, the next follows")
                self._shutdown.wait(PATIENCE_SECONDS)
            # A webhook that took its message gets the next one at once.
            self._ended.wait(ROUND_SECONDS)
            self._ended.clear()

    def _round(self) -> None:
        busy = frozenset(self._busy)
        if len(busy) < MOST_AT_ONCE:
            free = MOST_AT_ONCE - len(busy)
            for claim in webhook_deliveries.claim_due(self._context, busy=busy, limit=free):
                self._busy.add(claim.webhook)
                # Not a daemon: at the end the process waits for what came of it, ten seconds at most.
                threading.Thread(target=self._deliver, args=(claim,), name=f"webhook-{claim.webhook}").start()
        if time.monotonic() >= self._disk_next:
            self._disk_next = time.monotonic() + DISK_SECONDS
            low_disk.check_disk(self._context)

    def _deliver(self, claim: Claim) -> None:
        try:
            outcome = webhook_deliveries.deliver(self._context, claim)
            self._metrics.sent_to_webhook("delivered" if outcome.error is None else "failed")
        except LoupeError as error:
            logger.warning("webhook %s: %s The message is sent again.", claim.webhook, error.detail)
        except Exception:
            logger.exception("webhook %s: an attempt broke off, it is made again", claim.webhook)
        finally:
            self._busy.discard(claim.webhook)
            self._ended.set()
