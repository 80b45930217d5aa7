"""What a running job shows to other hosts while it runs: its checkpoints and logs.

Nothing of this happens without a shared storage: ``LocalProgress`` then passes on progress as it comes.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from app.context import AppContext
from app.errors import UnavailableError
from app.host.files import link_or_copy
from app.jobs.claims import Claim
from app.schemas.progress_lines import AnyLine, CheckpointLine
from app.storage.home import Storage
from app.storage.job_logs import Seen, upload_logs
from app.workers.background import run_in_background
from app.workers.progress_file import ProgressFile

logger = logging.getLogger(__name__)

LOG_SECONDS = 5.0
WAIT_SECONDS = 1.0
CHECKPOINTS_KEPT = 2


def open_progress(context: AppContext, claim: Claim, file: Path) -> LocalProgress | SharedProgress:
    """The progress of the job whose child writes ``file``, in the form that this Loupe needs."""
    if context.settings.storage_url is None:
        return LocalProgress(file)
    return SharedProgress(context, claim, ProgressFile(file))


class LocalProgress(ProgressFile):
    """A child's progress lines as they come. Nothing is exchanged with other hosts, for there are none."""

    def exchange(self, work: Callable[[], object], meanwhile: Callable[[], object]) -> None:
        pass

    def wait_until_uploaded(self, is_late: Callable[[], bool]) -> None:
        pass

    def upload_logs(self) -> None:
        pass

    def close(self) -> None:
        pass


class SharedProgress(threading.Thread):
    """A child's progress lines, those of checkpoints only once the checkpoint can be seen by other hosts.

    So the row that tells of a checkpoint is written after the checkpoint is safe, and the training goes on
    meanwhile. Of several that wait the newest is enough: the others are never told of.
    """

    def __init__(self, context: AppContext, claim: Claim, file: ProgressFile) -> None:
        super().__init__(name=f"upload-{claim.job_id}", daemon=True)
        self._storage, self._claim, self._file = context.storage, claim, file
        self._changed = threading.Condition()
        self._known: set[str] = set()
        self._waiting: list[CheckpointLine] = []
        self._uploaded: list[CheckpointLine] = []
        self._offered = 0
        self._is_closed = False
        self._logs_seen: Seen = {}
        self.start()

    def read(self) -> list[AnyLine]:
        """The lines since the last ``confirm`` that may be stored."""
        lines = self._file.read()
        with self._changed:
            for line in lines:
                if isinstance(line, CheckpointLine) and line.folder not in self._known:
                    self._known.add(line.folder)
                    self._waiting.append(line)
                    self._changed.notify_all()
            self._offered = len(self._uploaded)
            others = [line for line in lines if not isinstance(line, CheckpointLine)]
            return others + self._uploaded

    def confirm(self) -> None:
        """The lines of the last ``read`` are stored."""
        self._file.confirm()
        with self._changed:
            del self._uploaded[: self._offered]
            self._offered = 0

    def size(self) -> int:
        """Bytes written so far, read or not."""
        return self._file.size()

    def exchange(self, work: Callable[[], object], meanwhile: Callable[[], object]) -> None:
        """Does ``work``, which moves files between hosts, and calls ``meanwhile`` again and again."""
        run_in_background(work, meanwhile)

    def wait_until_uploaded(self, is_late: Callable[[], bool]) -> None:
        """Returns when no checkpoint waits to be uploaded, or when it is too late to wait for one."""
        self.read()
        with self._changed:
            while self._waiting and not self._is_closed and not is_late():
                self._changed.wait(WAIT_SECONDS)

    def upload_logs(self) -> None:
        """Uploads what the logs have got since the last time."""
        upload_logs(self._storage, self._claim.job_id, self._log_folder, self._logs_seen)

    def close(self) -> None:
        """Ends the thread; what waits is given up."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def _log_folder(self) -> Path:
        return self._storage.job_logs(self._claim.job_id) / f"{self._claim.fence:04d}"

    def run(self) -> None:
        logs_next = time.monotonic() + LOG_SECONDS
        while True:
            with self._changed:
                if not self._waiting and not self._is_closed:
                    self._changed.wait(WAIT_SECONDS)
                if self._is_closed:
                    return
                newest = self._waiting[-1] if self._waiting else None
            try:
                if newest is not None:
                    self._upload_checkpoint(newest)
                if time.monotonic() >= logs_next:
                    began = time.monotonic()
                    self.upload_logs()
                    # A long log takes long to upload again; it may take a tenth of the time.
                    logs_next = time.monotonic() + LOG_SECONDS + 10 * (time.monotonic() - began)
            except UnavailableError as error:
                logger.warning("job %s: %s The work goes on.", self._claim.job_id, error.detail)
                time.sleep(WAIT_SECONDS)
            except Exception:
                logger.exception("job %s: an upload failed, it is tried again", self._claim.job_id)
                time.sleep(WAIT_SECONDS)

    def _upload_checkpoint(self, line: CheckpointLine) -> None:
        folder = Path(line.folder)
        is_uploaded = upload_checkpoint(self._storage, folder)
        with self._changed:
            del self._waiting[: self._waiting.index(line) + 1]
            if is_uploaded:
                self._uploaded.append(line)
            self._changed.notify_all()
        if is_uploaded:
            forget_old_checkpoints(self._storage, folder)


def upload_checkpoint(storage: Storage, folder: Path) -> bool:
    """Uploads a checkpoint; False when its child has deleted it already, in favour of newer ones."""
    with storage.scratch_folder("checkpoint") as scratch:
        copy = scratch / folder.name
        try:
            # The child deletes all but its newest two while this one is uploaded.
            shutil.copytree(folder, copy, copy_function=link_or_copy)
        except (FileNotFoundError, shutil.Error):
            return False
        storage.remote.upload(folder, copy)
    return True


def forget_old_checkpoints(storage: Storage, newest: Path) -> None:
    """Of this attempt the last two are kept in the storage, of earlier ones those of the last attempt."""
    stored = storage.remote.list_whole(newest.parent.parent)
    own = [folder for folder in stored if folder.parent == newest.parent]
    others = [folder for folder in stored if folder not in own]
    last = others[-1].parent if others else None
    for folder in own[:-CHECKPOINTS_KEPT] + [folder for folder in others if folder.parent != last]:
        storage.remote.remove(folder)
