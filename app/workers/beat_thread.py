"""The worker's entry in ``GET /workers``: made at the start, renewed with every beat, removed at the end."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading

from app.context import AppContext
from app.errors import LoupeError
from app.host.gpus import Gpu
from app.host.machine import Machine
from app.host.processes import process_owner
from app.services import workers
from app.services.workers import Registration

logger = logging.getLogger(__name__)


class BeatThread(threading.Thread):
    """Runs until ``leave``: a worker that checkpoints before it ends is still alive."""

    def __init__(self, context: AppContext, queue: str, concurrency: int, gpus: tuple[Gpu, ...] = ()) -> None:
        super().__init__(name="beat", daemon=True)
        self._context = context
        self._queue, self._concurrency = queue, concurrency
        self._gpus = gpus
        self._left = threading.Event()
        self._registration: Registration | None = None

    def run(self) -> None:
        self._registration = Registration.new(
            owner=process_owner(),
            host=socket.gethostname(),
            pid=os.getpid(),
            queue=self._queue,
            concurrency=self._concurrency,
            devices=Machine.of_this_process(self._gpus).as_dict(),
        )
        while not self._left.is_set():
            try:
                workers.beat(self._context, self._registration)
            except LoupeError as error:
                logger.warning("beat: %s", error.detail)
            except Exception:
                logger.exception("beat: failed, the next follows")
            self._left.wait(self._context.settings.heartbeat_seconds)

    def leave(self) -> None:
        """Ends the thread and removes the entry; while the database is away it stays, and is lost later."""
        self._left.set()
        self.join(timeout=5)
        if self._registration is not None:
            with contextlib.suppress(LoupeError):
                workers.leave(self._context, self._registration.id)
