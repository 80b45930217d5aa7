"""A worker process: ``python -m app.workers --queue training|gpu|cpu|tasks``."""

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
from app.context import AppContext
from app.errors import DeviceError
from app.host.gpus import find_gpus
from app.job_queue import CPU_QUEUE, GPU_QUEUE, QUEUES, TASK_QUEUE, TRAINING_QUEUE, create_celery
from app.jobs.gpu_leases import Offer
from app.logs import configure_logging
from app.workers.beat_thread import BeatThread
from app.workers.home_thread import HomeThread
from app.workers.metrics import serve_metrics
from app.workers.mlflow_thread import MlflowThread
from app.workers.poll_thread import PollThread
from app.workers.reaper_thread import ReaperThread
from app.workers.runner import JobRunner
from app.workers.tasks import register_tasks
from app.workers.webhook_thread import WebhookThread


def main() -> None:
    """Serves its queues until it is told to end."""
    parser = argparse.ArgumentParser(prog="python -m app.workers", description=__doc__)
    parser.add_argument("--queue", choices=QUEUES, required=True)
    queue = parser.parse_args().queue
    settings = Settings()
    try:
        offer = make_offer(queue, settings.gpus)
    except DeviceError as error:
        parser.exit(2, f"{error.detail} {error.hint or ''}\n")
    queues = queues_of(queue, offer)
    configure_logging(settings.log_level, settings.log_format, settings.first_key)
    # Celery, which would set up logging of its own and print a banner, leaves it to us.
    setup_logging.connect(lambda **_: None, weak=False)
    context = AppContext.open(settings)
    shutdown = threading.Event()

    @worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
    def _shut_down(**_: Any) -> None:
        shutdown.set()

    concurrency = settings.training_concurrency or max(1, len(offer.gpus))
    if queue == TASK_QUEUE:
        concurrency = settings.task_concurrency
    runner = JobRunner(context, shutdown, concurrency, offer)
    celery = create_celery(settings)
    register_tasks(celery, runner)
    ReaperThread(context, shutdown).start()
    if settings.storage_url is not None:
        HomeThread(context, shutdown).start()
    PollThread(runner, queues).start()
    WebhookThread(context, shutdown, runner.metrics).start()
    if settings.mlflow_tracking_uri is not None:
        MlflowThread(context, shutdown).start()
    serve_metrics(settings, runner.metrics)
    beat = BeatThread(context, queue, concurrency, offer.gpus)
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
                f"--queues={','.join(queues)}",
                f"--hostname={queue}-{os.getpid()}@{socket.gethostname()}",
                f"--loglevel={settings.log_level}",
                "--without-gossip",
                "--without-mingle",
                "--without-heartbeat",
            ]
        )
    finally:
        beat.leave()


def make_offer(queue: str, gpus: str | None) -> Offer:
    """What a worker of ``queue`` has for trainings. Raises DeviceError for a GPU that is not there."""
    found = find_gpus(gpus) if queue in (TRAINING_QUEUE, GPU_QUEUE) else ()
    if queue == GPU_QUEUE and not found:
        raise DeviceError(
            "A worker of the queue gpu needs a GPU, and this process sees none.",
            hint="`nvidia-smi -L` lists those of the machine; LOUPE_GPUS names those to use.",
        )
    return Offer(found, cpu=queue in (TRAINING_QUEUE, CPU_QUEUE))


def queues_of(queue: str, offer: Offer) -> tuple[str, ...]:
    """``training`` is all trainings that the machine can run; ``gpu`` and ``cpu`` are parts of it."""
    if queue == GPU_QUEUE:
        return (GPU_QUEUE, TRAINING_QUEUE)
    if queue == TRAINING_QUEUE:
        return (GPU_QUEUE, TRAINING_QUEUE, CPU_QUEUE) if offer.gpus else (TRAINING_QUEUE, CPU_QUEUE)
    return (queue,)


if __name__ == "__main__":
    main()
