"""Named places at which the chaos tests make a process fail; nothing at all unless a variable is set.

``LOUPE_FAILPOINTS`` names a folder. A file in it called as a place holds what happens there, a line each time
the place is passed: the first line is taken off and obeyed. A line that begins with ``*`` stays.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import time
from pathlib import Path

FOLDER = os.environ.get("LOUPE_FAILPOINTS")

NAMES = frozenset(
    {
        "submit.committed",
        "claim.committed",
        "report.before",
        "report.after",
        "child.started",
        "records.writing",
        "resume.restored",
        "train.step",
        "checkpoint.writing",
        "checkpoint.written",
        "checkpoint.renamed",
        "export.writing",
        "predict.image",
        "finish.publishing",
        "finish.published",
        "finish.committed",
        "storage.files_put",
        "webhook.sent",
        "watch.answered",
        "watch.writing",
        "watch.recorded",
        "watch.copied",
        "watch.placed",
    }
)


def pass_by(name: str) -> None:
    """Does what the failpoint ``name`` has been told to do, if it has been told anything."""
    if FOLDER is None:
        return
    if name not in NAMES:
        raise ValueError(f"there is no failpoint {name!r}")
    action = _take(Path(FOLDER) / name)
    if action is not None:
        _obey(name, *action.split())


def _take(path: Path) -> str | None:
    try:
        file = path.open("r+", encoding="ascii")
    except FileNotFoundError:
        return None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        lines = file.read().splitlines()
        if not lines:
            return None
        if lines[0].startswith("*"):
            return lines[0][1:]
        file.seek(0)
        file.truncate()
        file.writelines(line + "\n" for line in lines[1:])
        return lines[0]


def _obey(name: str, action: str, argument: str = "0") -> None:
    match action:
        case "skip":
            return
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "segfault":
            signal.signal(signal.SIGSEGV, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGSEGV)
        case "memory":
            raise MemoryError(f"failpoint {name}")
        case "full":
            raise OSError(errno.ENOSPC, f"failpoint {name}")
        case "sleep":
            time.sleep(float(argument))
        case _:
            raise ValueError(f"failpoint {name} is told {action!r}, which it does not know")
