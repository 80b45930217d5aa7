"""The checks of ``loupe doctor``, for who has no shell on the server.

They run as the command itself, in a process of their own: a check that hangs, as on a silent file server,
takes no thread of the API for longer than its limit, and what they need stays out of its memory.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from pydantic import ValidationError

from app.config import environment_of
from app.context import AppContext
from app.errors import BusyError, UnavailableError
from app.models.base import utc_now
from app.schemas.installation import Installation

logger = logging.getLogger(__name__)

SECONDS = 45.0
"""Three checks may hang to their own limits."""
FRESH_SECONDS = 5.0
"""Who asks so soon gets what was just found: the checks cost a second of a processor."""
_CODE = str(Path(__file__).parents[2])

_turn = threading.Lock()
_last: tuple[float, Path, Installation] | None = None


def look_at_installation(context: AppContext) -> Installation:
    """Raises BusyError while others look; UnavailableError where the checks come to no end."""
    global _last
    if not _turn.acquire(timeout=SECONDS):
        raise BusyError("Somebody else looks at the installation.", hint="Try again in a few seconds.")
    try:
        home = context.settings.home
        if _last is None or _last[1] != home or time.monotonic() - _last[0] > FRESH_SECONDS:
            found = _look(context)
            _last = (time.monotonic(), home, found)
        return _last[2]
    finally:
        _turn.release()


def _look(context: AppContext) -> Installation:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOUPE_")}
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "app.cli", "doctor", "--json"],
            env={**environment, **environment_of(context.settings), "PYTHONPATH": _CODE},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(
            f"The checks came to no end in {SECONDS:.0f} s.", hint="Run `loupe doctor` on the server."
        ) from None
    try:
        return Installation.model_validate({**json.loads(ended.stdout), "looked_at": utc_now()})
    except (ValueError, ValidationError):
        logger.error("loupe doctor ended with %d: %s", ended.returncode, ended.stderr[-2000:])
        raise UnavailableError(
            "The checks could not be made.", hint="The log of the API has the reason."
        ) from None
