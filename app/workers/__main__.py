"""A worker process: ``python -m app.workers --queue training|tasks``."""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import threading
from typing import Any

from celery.signals import setup_logging, worker_shutting_down

from app.config import Settings
from app.job_queue import TASK_QUEUE, TRAINING_QUEUE, create_celery
from app.logs import configure_logging
from app.runtime import Runtime
from app.workers.beat_thread import BeatThread
from app.workers.metrics import serve_metrics
from app.workers.reaper_thread import ReaperThread
from app.workers.runner import JobRunner
from app.workers.tasks import register_tasks
from app.workers.unheard_thread import UnheardThread


def main() -> None:
    """Serves one queue until it is told to end."""
    parser = argparse.ArgumentParser(prog="python -m app.workers", description=__doc__)
    parser.add_argument("--queue", choices=(TRAINING_QUEUE, TASK_QUEUE), required=True)
    queue = parser.parse_args().queue
    settings = Settings()
    configure_logging(settings.log_level, settings.log_format)
    # Celery, which would set up logging of its own and print a banner, leaves it to us.
    setup_logging.connect(lambda **_: None, weak=False)
    runtime = Runtime.open(settings)
    shutdown = threading.Event()

    @worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
    def _shut_down(**_: Any) -> None:
        shutdown.set()

    concurrency = settings.training_concurrency if queue == TRAINING_QUEUE else settings.task_concurrency
    runner = JobRunner(runtime, shutdown, concurrency)
    celery = create_celery(settings)
    register_tasks(celery, runner)
    ReaperThread(runtime, shutdown).start()
    UnheardThread(runner, queue).start()
    serve_metrics(settings, runner.metrics)
    beat = BeatThread(runtime, queue, concurrency)
    beat.start()
    # Until Celery has put its own handler in place: nothing runs yet, but the entry must go.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        celery.worker_main(
            [
                "--quiet",
                "worker",
                "--pool=threads",
                f"--concurrency={concurrency}",
                f"--queues={queue}",
                f"--hostname={queue}-{os.getpid()}@{socket.gethostname()}",
                f"--loglevel={settings.log_level}",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ]
        )
    finally:
        beat.leave()


if __name__ == "__main__":
    main()
