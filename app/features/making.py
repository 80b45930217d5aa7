"""Has the extractor made where it is missing: TensorFlow is needed once, in a process of its own."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.child import SPEC, read_error
from app.errors import FeaturesUnavailableError
from app.features.extractor import Extractor, read_note
from app.features.files import NETWORK
from app.host.files import make_folder, write_json
from app.networks.pretrained.sources import get_published

MAKER = "app.training.extractor"
_POLL_SECONDS = 0.1


def require_extractor(
    folder: Path, weights_root: Path, scratch: Path, alive: Callable[[], None]
) -> Extractor:
    """The extractor of ``folder``, made now if it is missing or damaged.

    ``scratch`` is a folder for our own use. ``alive`` is called while it is made, and may raise to leave.
    Raises FeaturesUnavailableError, also if the weights that it is made from are not on this machine.
    """
    try:
        return Extractor(folder)
    except FeaturesUnavailableError:
        published = get_published(NETWORK)
        if published is None or published.locate(weights_root) is None:
            raise
    make_folder(folder.parent)
    with _alone(folder.with_name(f".{folder.name}.lock"), alive):
        if read_note(folder) is not None:  # Another process made it meanwhile, or it is damaged.
            try:
                return Extractor(folder)
            except FeaturesUnavailableError:
                pass
        shutil.rmtree(folder, ignore_errors=True)
        _make(folder, weights_root, scratch, alive)
    return Extractor(folder)


def _make(folder: Path, weights_root: Path, scratch: Path, alive: Callable[[], None]) -> None:
    make_folder(scratch)
    write_json(scratch / SPEC, {"weights_root": str(weights_root.resolve()), "out": str(folder.resolve())})
    # The open pipe is the child's sign that this process lives.
    process = subprocess.Popen([sys.executable, "-m", MAKER, str(scratch)], stdin=subprocess.PIPE)
    try:
        while process.poll() is None:
            alive()
            time.sleep(_POLL_SECONDS)
    finally:
        process.kill()
        process.communicate()
    if process.returncode != 0:
        reason = read_error(scratch) or {"detail": f"it ended with exit status {process.returncode}"}
        raise FeaturesUnavailableError(
            f"The extractor of features could not be made: {reason['detail']}", hint=reason.get("hint")
        )


@contextmanager
def _alone(path: Path, alive: Callable[[], None]) -> Iterator[None]:
    """One process at a time, among those that share this file system."""
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                alive()
                time.sleep(_POLL_SECONDS)
        yield
