"""Cleaning up in a home folder that is this host's alone: a thread in every worker of hosts that share."""

from __future__ import annotations

import logging
import threading

from app.context import AppContext
from app.errors import LoupeError
from app.jobs import deleted_datasets, garbage, reaper

logger = logging.getLogger(__name__)

ROUND_SECONDS = 30.0


class HomeThread(threading.Thread):
    """Runs until ``shutdown`` is set. The reaper, which may be on another host, cannot reach this folder."""

    def __init__(self, context: AppContext, shutdown: threading.Event) -> None:
        super().__init__(name="home", daemon=True)
        self._context = context
        self._shutdown = shutdown

    def run(self) -> None:
        while not self._shutdown.wait(ROUND_SECONDS):
            try:
                reaper.clean_up_ended_jobs(self._context)
                garbage.clean_home(self._context)
                deleted_datasets.remove_deleted_datasets(self._context)
            except LoupeError as error:
                logger.warning("home: %s", error.detail)
            except Exception:
                logger.exception("home: a round failed, the next follows")
