"""The Celery app and how a job is announced. The database is the queue: a message only wakes a worker."""

from __future__ import annotations

import logging
import time

import redis
from celery import Celery
from kombu.exceptions import KombuError
from kombu.exceptions import OperationalError as BrokerError
from redis.backoff import NoBackoff
from redis.retry import Retry

from app.config import Settings
from app.schemas.job_kinds import JOB_KINDS

logger = logging.getLogger(__name__)

RUN_JOB = "loupe.run_job"
TIMEOUT_SECONDS = 1.0
# After Redis failed to answer nobody waits for it again for so long: a burst of submits waits once.
PAUSE_SECONDS = 1.0
TRAINING_QUEUE, CPU_QUEUE, GPU_QUEUE, TASK_QUEUE = "training", "cpu", "gpu", "tasks"
QUEUES = (TRAINING_QUEUE, GPU_QUEUE, CPU_QUEUE, TASK_QUEUE)


def queue_for(kind: str, device: str = "auto") -> str:
    """What uses a device has queues of its own, so that a long training never holds up an import.

    Raises KeyError for a kind or a device that this version does not know.
    """
    if not JOB_KINDS[kind].uses_device:
        return TASK_QUEUE
    return {"cpu": CPU_QUEUE, "gpu": GPU_QUEUE, "auto": TRAINING_QUEUE}[device]


def create_celery(settings: Settings) -> Celery:
    """A Celery app that loses nothing we rely on: early ack, no results, no prefetch, short timeouts."""
    celery = Celery("loupe", broker=settings.broker_url, set_as_current=False)
    celery.conf.update(
        task_acks_late=False,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        task_default_queue=TASK_QUEUE,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            "socket_connect_timeout": 2,
            "socket_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 10,
        },
        task_publish_retry=False,
    )
    return celery


class JobQueue:
    """Announces jobs to workers, best effort: the reaper announces again what was not heard."""

    def __init__(self, settings: Settings) -> None:
        self._celery = create_celery(settings)
        self._redis = redis.Redis.from_url(
            settings.redis_client_url,
            socket_connect_timeout=TIMEOUT_SECONDS,
            socket_timeout=TIMEOUT_SECONDS,
            retry=Retry(NoBackoff(), retries=0),
        )
        self._paused_until = 0.0

    def enqueue(self, job_id: str, kind: str, device: str = "auto") -> bool:
        """Publishes the job's id; False when the broker did not take it.

        Asks Redis first: Celery's own way to find out that it is away takes six seconds, and a client waits.
        """
        if time.monotonic() < self._paused_until:
            return False
        if not self.is_up():
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            logger.warning("job %s is stored; Redis does not answer, so it is announced later", job_id)
            return False
        try:
            self._celery.send_task(RUN_JOB, args=[job_id], queue=queue_for(kind, device), retry=False)
        except (BrokerError, KombuError, redis.RedisError, OSError) as error:
            logger.warning("job %s is stored but could not be announced yet: %s", job_id, error)
            return False
        return True

    def length(self, queue: str) -> int | None:
        """Messages waiting in ``queue``; None when Redis does not answer."""
        try:
            return int(self._redis.llen(queue))
        except redis.RedisError:
            return None

    def is_up(self) -> bool:
        """Whether Redis answers in time."""
        try:
            return bool(self._redis.ping())
        except redis.RedisError:
            return False

    def close(self) -> None:
        self._celery.close()
        self._redis.close()
