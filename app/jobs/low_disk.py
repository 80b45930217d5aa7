"""Whether the disk of the home folder has little space left: webhooks hear of it once."""

from __future__ import annotations

import logging
import shutil
import socket

from sqlalchemy import delete, false

from app.context import AppContext
from app.db import upsert
from app.models import LowDisk
from app.models.base import utc_now
from app.services import webhook_events

logger = logging.getLogger(__name__)

ENOUGH = 1.25
"""Times the threshold that must be free before it is said again: space that comes and goes is said once."""


def check_disk(context: AppContext) -> None:
    """Says that space is low, if a webhook takes that and it was not said since there was enough."""
    threshold = context.settings.low_disk_bytes
    free = shutil.disk_usage(context.settings.home).free
    name = _name(context)
    with context.db.read() as session:
        was_said = session.get(LowDisk, name) is not None
        is_taken = webhook_events.is_taken(session, "disk.low")
    if free < threshold and is_taken and not was_said:
        _say(context, name, free)
    elif free >= threshold * ENOUGH and was_said:
        with context.db.write() as session:
            session.execute(delete(LowDisk).where(LowDisk.name == name))


def _say(context: AppContext, name: str, free: int) -> None:
    with context.db.write() as session:
        row = {"name": name, "created_at": utc_now()}
        # Of several workers on one host one says it: a row that is there is never changed.
        if not upsert(session, LowDisk, [row], ("name",), where=false(), returning=LowDisk.name):
            return
        logger.warning("disk: %d bytes are free in %s", free, context.settings.home)
        webhook_events.disk_low(
            session, name, free_bytes=free, threshold_bytes=context.settings.low_disk_bytes
        )


def _name(context: AppContext) -> str:
    """This host; or what all hosts share where they have one home folder."""
    return socket.gethostname() if context.settings.storage_url is not None else "home"
