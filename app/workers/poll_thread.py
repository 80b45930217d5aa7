"""The way to work without Redis: a worker that idles while jobs wait takes them from the database itself.

Redis only makes it quick. It may be away or frozen, or a consumer may not consume again after it came back.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection

from app.errors import LoupeError
from app.jobs import claims
from app.workers.runner import JobRunner

logger = logging.getLogger(__name__)

ROUND_SECONDS = 3.0
PATIENCE_SECONDS = 15.0


class PollThread(threading.Thread):
    """Runs until the runner's ``shutdown`` is set."""

    def __init__(self, runner: JobRunner, queues: Collection[str]) -> None:
        super().__init__(name="poll", daemon=True)
        self._runner = runner
        self._queues = queues
        self._waiting_since: dict[str, float] = {}

    def run(self) -> None:
        while not self._runner.shutdown.wait(ROUND_SECONDS):
            try:
                self._round()
            except LoupeError as error:
                logger.warning("unclaimed jobs: %s", error.detail)
            except Exception:
                logger.exception("unclaimed jobs: a round failed, the next follows")

    def _round(self) -> None:
        if not self._runner.is_free:
            self._waiting_since = {}
            return
        now = time.monotonic()
        waiting = claims.list_waiting(self._runner.context, self._queues, self._runner.offer)
        self._waiting_since = {job_id: self._waiting_since.get(job_id, now) for job_id in waiting}
        for job_id, since in list(self._waiting_since.items()):
            if now - since >= PATIENCE_SECONDS:
                if not self._runner.run_if_free(job_id):
                    return
                # It may stay queued, for want of a GPU: then it is asked for again, but not in every round.
                self._waiting_since[job_id] = now
                logger.warning("job %s: taken from the database, its message did not come", job_id)
