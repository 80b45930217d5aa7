"""The Celery task: an id in, one supervised run."""

from __future__ import annotations

import logging
import threading

from celery import Celery

from app.errors import UnavailableError
from app.job_queue import RUN_JOB
from app.runtime import Runtime
from app.services import job_runs
from app.workers.identity import process_owner
from app.workers.supervisor import Supervisor

logger = logging.getLogger(__name__)


def register_tasks(celery: Celery, runtime: Runtime, shutdown: threading.Event) -> None:
    """Adds the task to the app; ``shutdown`` is set when the worker is asked to end."""
    owner = process_owner()

    @celery.task(name=RUN_JOB)  # type: ignore[untyped-decorator]
    def run_job(job_id: str) -> None:
        if shutdown.is_set():
            return  # stays queued in the database, and is announced again
        try:
            claim = job_runs.claim(runtime, job_id, owner)
        except UnavailableError as error:
            logger.warning("job %s: %s It will be announced again.", job_id, error.detail)
            return
        if claim is None:
            logger.info("job %s: nothing to do, it runs elsewhere or has ended", job_id)
            return
        Supervisor(runtime, claim, shutdown).run()
