"""The Celery task: an id in, one supervised run."""

from __future__ import annotations

from celery import Celery

from app.job_queue import RUN_JOB
from app.workers.runner import JobRunner


def register_tasks(celery: Celery, runner: JobRunner) -> None:
    """Adds the task to the app."""

    @celery.task(name=RUN_JOB)  # type: ignore[untyped-decorator]
    def run_job(job_id: str) -> None:
        runner.run(job_id)
