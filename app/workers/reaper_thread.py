"""The reaper's loop: a thread in every worker process, of which one at a time does the work."""

from __future__ import annotations

import logging
import threading
import time

from app.context import AppContext
from app.errors import LoupeError
from app.host.processes import is_gone, process_owner
from app.jobs import deleted_datasets, garbage, kept_models, mlflow_runs, reaper, webhook_deliveries

logger = logging.getLogger(__name__)

ROUND_SECONDS = 3.0
CLEAN_SECONDS = 30.0
GARBAGE_SECONDS = 3600.0
# A gap between rounds longer than this: the machine slept, or somebody set its clock.
GAP_SECONDS = 10.0


class ReaperThread(threading.Thread):
    """Runs until ``shutdown`` is set."""

    def __init__(self, context: AppContext, shutdown: threading.Event) -> None:
        super().__init__(name="reaper", daemon=True)
        self._context = context
        self._shutdown = shutdown
        self._owner = f"{process_owner()}|reaper"
        self._seen_well_since = time.monotonic()
        self._last_round = time.time()
        self._clean_next = time.monotonic()
        self._garbage_next = time.monotonic() + GARBAGE_SECONDS
        self._removal = threading.Thread()

    def run(self) -> None:
        while not self._shutdown.wait(ROUND_SECONDS):
            try:
                self._round()
            except LoupeError as error:
                self._seen_well_since = time.monotonic()
                logger.warning("reaper: %s", error.detail)
            except Exception:
                self._seen_well_since = time.monotonic()
                logger.exception("reaper: a round failed, the next follows")

    def _round(self) -> None:
        if abs(time.time() - self._last_round) > ROUND_SECONDS + GAP_SECONDS:
            # Leases ran out while nobody could beat: the living get the time to do so.
            self._seen_well_since = time.monotonic()
        self._last_round = time.time()
        if not reaper.take_reaper_lease(self._context, self._owner, is_gone=is_gone):
            return
        well_for = time.monotonic() - self._seen_well_since
        reclaimed = reaper.reclaim_lost_jobs(
            self._context,
            is_gone=is_gone,
            trust_expiry=well_for > 2 * self._context.settings.lease_seconds,
        )
        if reclaimed:
            logger.warning("reaper: given back after their worker was lost: %s", ", ".join(reclaimed))
        reaper.move_sweeps_on(self._context)
        announced = reaper.announce_unclaimed_jobs(self._context)
        if announced:
            logger.info("reaper: announced %d waiting jobs again", announced)
        if time.monotonic() >= self._clean_next:
            self._clean_next = time.monotonic() + CLEAN_SECONDS
            reaper.clean_up_ended_jobs(self._context)
            kept_models.remove_kept_models(self._context)
            if not self._removal.is_alive():
                # Beside the rounds, as below: a dataset may have a million images.
                self._removal = threading.Thread(target=self._remove_old, name="removal", daemon=True)
                self._removal.start()
        if time.monotonic() >= self._garbage_next:
            self._garbage_next = time.monotonic() + GARBAGE_SECONDS
            # Beside the rounds: lost jobs do not wait until a large storage has been looked through.
            threading.Thread(target=self._collect_garbage, name="garbage", daemon=True).start()

    def _remove_old(self) -> None:
        try:
            garbage.clean_scratch(self._context)
            deleted_datasets.remove_deleted_datasets(self._context)
        except LoupeError as error:
            logger.warning("garbage: %s", error.detail)
        except Exception:
            logger.exception("garbage: something stays, the next round follows")

    def _collect_garbage(self) -> None:
        try:
            garbage.forget_requests(self._context)
            garbage.forget_uploads(self._context)
            webhook_deliveries.forget_old_deliveries(self._context)
            mlflow_runs.forget_deleted_jobs(self._context)
            garbage.forget_audit_records(self._context)
            garbage.clean_storage(self._context)
        except LoupeError as error:
            logger.warning("garbage: %s The next is in an hour.", error.detail)
        except Exception:
            logger.exception("garbage: it failed, the next is in an hour")
