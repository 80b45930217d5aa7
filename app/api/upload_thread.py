"""Uploads reach the shared storage beside the requests: a thread in the API process."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.context import AppContext
from app.errors import LoupeError
from app.services.uploads import send_uploads

logger = logging.getLogger(__name__)

ROUND_SECONDS = 5.0
CLOSE_SECONDS = 2.0


@contextmanager
def sending_uploads(context: AppContext) -> Iterator[None]:
    """While the block runs, uploads are sent: those of an earlier process first, then each that comes."""
    thread = UploadThread(context)
    thread.start()
    try:
        yield
    finally:
        thread.close()


class UploadThread(threading.Thread):
    """Runs until ``close``. What it is cut off from, the next process does."""

    def __init__(self, context: AppContext) -> None:
        super().__init__(name="uploads", daemon=True)
        self._context = context
        self._is_closed = False

    def run(self) -> None:
        while not self._is_closed:
            # Before the round: an upload that comes during it is for the next one.
            self._context.new_uploads.clear()
            try:
                send_uploads(self._context)
            except LoupeError as error:
                logger.warning("uploads: %s They are tried again.", error.detail)
            except Exception:
                logger.exception("uploads: a round failed, the next follows")
            self._context.new_uploads.wait(ROUND_SECONDS)

    def close(self) -> None:
        """Ends the thread; it is not waited for while it sends a large file."""
        self._is_closed = True
        self._context.new_uploads.set()
        self.join(CLOSE_SECONDS)
