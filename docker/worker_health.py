"""Asks the worker of this container, through Redis, whether it hears: status 0 when it answers."""

from __future__ import annotations

import socket
import sys

from app.config import Settings
from app.job_queue import create_celery

TIMEOUT_SECONDS = 10


def main() -> int:
    """Pings every worker whose name ends with this host; Docker gives each container a name of its own."""
    celery = create_celery(Settings())
    answers = celery.control.ping(
        timeout=TIMEOUT_SECONDS, pattern=f"*@{socket.gethostname()}", matcher="glob", limit=1
    )
    sys.stdout.write(f"{answers}\n")
    return 0 if answers else 1


if __name__ == "__main__":
    sys.exit(main())
