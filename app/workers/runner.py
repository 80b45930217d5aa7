"""Running jobs in this worker process, at most so many at a time, whoever brought their ids."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator

from app.context import AppContext
from app.errors import LoupeError, UnavailableError
from app.host import failpoints
from app.host.processes import process_owner
from app.jobs import claims
from app.jobs.gpu_leases import CPU_ONLY, NoFreeGpuError, Offer
from app.logs import log_context
from app.services.sweep_progress import advance_with
from app.workers.metrics import WorkerMetrics
from app.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)

DECLINED_SECONDS = 2.0


class JobRunner:
    """``shutdown`` is set when the worker is asked to end."""

    def __init__(
        self, context: AppContext, shutdown: threading.Event, slots: int, offer: Offer = CPU_ONLY
    ) -> None:
        self.context = context
        self.offer = offer
        self.shutdown = shutdown
        self.metrics = WorkerMetrics(context.storage)
        self._slots = threading.BoundedSemaphore(slots)
        self._owner = process_owner()

    def run(self, job_id: str) -> None:
        """Waits for a free slot, then runs the job if nobody else has taken it."""
        while not self._slots.acquire(timeout=0.5):
            if self.shutdown.is_set():
                return
        try:
            self._run(job_id)
        finally:
            self._slots.release()

    def run_if_free(self, job_id: str) -> bool:
        """Starts the job in a thread of its own; False when all slots are taken."""
        if not self._slots.acquire(blocking=False):
            return False

        def run() -> None:
            try:
                self._run(job_id)
            finally:
                self._slots.release()

        # Not a daemon: at the end the process waits until the job is given back.
        threading.Thread(target=run, name=f"run-{job_id}").start()
        return True

    @property
    def is_free(self) -> bool:
        """Whether a slot is free at the moment."""
        if self._slots.acquire(blocking=False):
            self._slots.release()
            return True
        return False

    def _run(self, job_id: str) -> None:
        with log_context(job_id=job_id):
            self._claim_and_run(job_id)

    def _claim_and_run(self, job_id: str) -> None:
        if self.shutdown.is_set():
            return  # stays queued in the database, and is announced again
        try:
            claim = claims.claim(self.context, job_id, self._owner, self.offer)
        except UnavailableError as error:
            logger.warning("job %s: %s It will be announced again.", job_id, error.detail)
            return
        except NoFreeGpuError:
            logger.info("job %s: its GPUs are in use. It will be announced again.", job_id)
            # Lest a hundred waiting jobs be asked for in a row.
            self.shutdown.wait(DECLINED_SECONDS)
            return
        if claim is None:
            logger.info("job %s: nothing to do, it runs elsewhere or has ended", job_id)
            return
        failpoints.pass_by("claim.committed")
        self.metrics.claimed(claim.kind)
        with self._slots_of_more_gpus(len(claim.gpus) - 1):
            Supervisor(self.context, claim, self.shutdown, self.metrics).run()
        self._move_its_sweep_on(job_id)

    def _move_its_sweep_on(self, job_id: str) -> None:
        try:
            advance_with(self.context, job_id)
        except LoupeError as error:
            logger.warning("job %s: its sweep waits for the reaper: %s", job_id, error.detail)

    @contextlib.contextmanager
    def _slots_of_more_gpus(self, gpus: int) -> Iterator[None]:
        """A training on several GPUs leaves fewer slots, lest jobs be taken up that could not start."""
        taken = 0
        while taken < gpus and self._slots.acquire(blocking=False):
            taken += 1
        try:
            yield
        finally:
            for _ in range(taken):
                self._slots.release()
