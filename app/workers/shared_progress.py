"""What a running job shows to other hosts: its checkpoints and logs while it runs, its results at the end.

Nothing of this happens without a shared storage; the supervisor then passes on progress as it comes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.context import AppContext
from app.errors import UnavailableError, is_disk_full
from app.evaluation.files import FILES as EVALUATION_FILES
from app.jobs.claims import Claim
from app.jobs.kinds.training import new_evaluation_folder, new_model_folder
from app.models import Job
from app.storage.dataset_packs import share_dataset
from app.storage.home import Storage
from app.storage.job_logs import Seen, share_logs
from app.workers.progress_file import ProgressFile

logger = logging.getLogger(__name__)

LOG_SECONDS = 5.0
WAIT_SECONDS = 1.0
CHECKPOINTS_KEPT = 2


class SharedProgress(threading.Thread):
    """A child's progress lines, those of checkpoints only once the checkpoint can be seen by other hosts.

    So the row that tells of a checkpoint is written after the checkpoint is safe, and the training goes on
    meanwhile. Of several that wait the newest is enough: the others are never told of.
    """

    def __init__(self, context: AppContext, claim: Claim, file: ProgressFile) -> None:
        super().__init__(name=f"share-{claim.job_id}", daemon=True)
        self._storage, self._claim, self._file = context.storage, claim, file
        self._changed = threading.Condition()
        self._known: set[str] = set()
        self._waiting: list[dict[str, Any]] = []
        self._shared: list[dict[str, Any]] = []
        self._offered = 0
        self._is_closed = False
        self._logs_seen: Seen = {}
        if self._storage.is_shared:
            self.start()

    def read(self) -> list[dict[str, Any]]:
        """The lines since the last ``confirm`` that may be stored."""
        lines = self._file.read()
        if not self._storage.is_shared:
            return lines
        with self._changed:
            for line in lines:
                if line["kind"] == "checkpoint" and line["folder"] not in self._known:
                    self._known.add(line["folder"])
                    self._waiting.append(line)
                    self._changed.notify_all()
            self._offered = len(self._shared)
            return [line for line in lines if line["kind"] != "checkpoint"] + self._shared

    def confirm(self) -> None:
        """The lines of the last ``read`` are stored."""
        self._file.confirm()
        with self._changed:
            del self._shared[: self._offered]
            self._offered = 0

    def size(self) -> int:
        """Bytes written so far, read or not."""
        return self._file.size()

    def wait_until_shared(self, is_late: Callable[[], bool]) -> None:
        """Returns when no checkpoint waits to be shared, or when it is too late to wait for one."""
        self.read()
        with self._changed:
            while self._waiting and not self._is_closed and not is_late():
                self._changed.wait(WAIT_SECONDS)

    def share_logs(self) -> None:
        """Uploads what the logs have got since the last time."""
        share_logs(self._storage, self._claim.job_id, self._log_folder, self._logs_seen)

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
                    self._share_checkpoint(newest)
                if time.monotonic() >= logs_next:
                    began = time.monotonic()
                    self.share_logs()
                    # A long log takes long to upload again; it may take a tenth of the time.
                    logs_next = time.monotonic() + LOG_SECONDS + 10 * (time.monotonic() - began)
            except UnavailableError as error:
                logger.warning("job %s: %s The work goes on.", self._claim.job_id, error.detail)
                time.sleep(WAIT_SECONDS)
            except Exception:
                logger.exception("job %s: sharing failed, it is tried again", self._claim.job_id)
                time.sleep(WAIT_SECONDS)

    def _share_checkpoint(self, line: dict[str, Any]) -> None:
        folder = Path(line["folder"])
        is_shared = share_checkpoint(self._storage, folder)
        with self._changed:
            del self._waiting[: self._waiting.index(line) + 1]
            if is_shared:
                self._shared.append(line)
            self._changed.notify_all()
        if is_shared:
            forget_old_checkpoints(self._storage, folder)


def share_checkpoint(storage: Storage, folder: Path) -> bool:
    """Uploads a checkpoint; False when its child has deleted it already, in favour of newer ones."""
    with storage.scratch_folder("checkpoint") as scratch:
        copy = scratch / folder.name
        try:
            # The child deletes all but its newest two while this one is uploaded.
            shutil.copytree(folder, copy, copy_function=_link_or_copy)
        except (FileNotFoundError, shutil.Error):
            return False
        storage.share(folder, copy)
    return True


def forget_old_checkpoints(storage: Storage, newest: Path) -> None:
    """Of this attempt the last two are kept in the storage, of earlier ones those of the last attempt."""
    assert storage.bundles is not None
    keys = storage.bundles.list_keys(storage.relative(newest.parent.parent))
    own = [key for key in keys if storage.absolute(key).parent == newest.parent]
    others = [key for key in keys if key not in own]
    last = storage.absolute(others[-1]).parent if others else None
    for key in own[:-CHECKPOINTS_KEPT] + [key for key in others if storage.absolute(key).parent != last]:
        storage.bundles.remove(key)


def share_results(context: AppContext, claim: Claim, result: dict[str, Any], folder: Path) -> None:
    """Lets other hosts see what a job has made, before the row that tells of it. May be repeated."""
    storage = context.storage
    match claim.kind:
        case "training":
            final = new_evaluation_folder(storage, claim, claim.job_id)
            _share_evaluation(storage, Path(result["verification"]), final)
            if result["artifact"] is not None:
                _share_from(storage, Path(result["artifact"]), new_model_folder(storage, claim))
        case "import":
            with context.db.read() as session:
                dataset_id = session.get_one(Job, claim.job_id).dataset
            share_dataset(storage, dataset_id)
        case "export":
            storage.share(storage.job_export(claim.job_id))
        case _:
            with context.db.read() as session:
                trained = session.get_one(Job, claim.job_id).payload["job"]
            _share_evaluation(storage, folder, new_evaluation_folder(storage, claim, trained))


def _share_evaluation(storage: Storage, source: Path, target: Path) -> None:
    if target.exists():
        storage.share(target)
        return
    with storage.scratch_folder("evaluation") as scratch:
        for name in EVALUATION_FILES:
            _link_or_copy(str(source / name), str(scratch / name))
        storage.share(target, scratch)


def _share_from(storage: Storage, source: Path, target: Path) -> None:
    """``source`` until it is published as ``target``."""
    storage.share(target, target if target.exists() else source)


def _link_or_copy(source: str, target: str) -> None:
    """A second name for the same bytes, where the file system can: files are never changed in place."""
    with contextlib.suppress(FileExistsError):
        try:
            os.link(source, target)
        except FileNotFoundError:
            raise
        except OSError as error:
            if is_disk_full(error):
                raise
            shutil.copyfile(source, target)
