"""Where files live under the home folder, and how a finished folder appears: aside, synced, renamed.

With a shared storage behind it the home folder of each host is a workplace and a cache: what others are to
see is shared, what is not here is fetched. Without one, sharing does nothing: there is one home folder.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ulid import ULID

from app.config import Settings
from app.errors import StorageRefusedError, UnavailableError
from app.host.files import make_folder, move, sync_tree
from app.storage.object_store import ObjectStore
from app.storage.remote import Bundles

logger = logging.getLogger(__name__)

STORAGE_ERRORS = "Times that the shared storage did not answer, or refused."


class Storage:
    """The folder tree of one Loupe. Paths only; what a file means is its owner's business."""

    def __init__(self, root: Path, store: ObjectStore | None = None) -> None:
        self.root = root
        self.store = store
        self.bundles = Bundles(store) if store is not None else None

    @property
    def failures(self) -> int:
        """How often the shared storage did not answer or refused, since the start of this process."""
        return 0 if self.store is None else self.store.failures

    @property
    def is_shared(self) -> bool:
        """Whether other hosts see what is shared, and not this home folder."""
        return self.store is not None

    def create(self) -> None:
        """Makes the folders that must exist."""
        for folder in (self.images, self.datasets, self.models, self.jobs, self.records, self.scratch):
            make_folder(folder)

    @property
    def images(self) -> Path:
        """Original pictures by SHA-256, shared by all datasets."""
        return self.root / "images"

    @property
    def datasets(self) -> Path:
        return self.root / "datasets"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def jobs(self) -> Path:
        return self.root / "jobs"

    @property
    def records(self) -> Path:
        """TFRecords by dataset digest and size: a cache, safe to delete while nothing trains."""
        return self.root / "records"

    @property
    def scratch(self) -> Path:
        """Uploads and half-written things, on the file system of the rest so that a rename is enough."""
        return self.root / "scratch"

    @property
    def weights(self) -> Path:
        """Published weights, as `loupe weights` keeps them."""
        return self.root / "weights"

    def dataset(self, dataset_id: str) -> Path:
        return self.datasets / dataset_id

    def job(self, job_id: str) -> Path:
        return self.jobs / job_id

    def job_split(self, job_id: str) -> Path:
        """Which picture is in which split of this job: item id → train, valid, test."""
        return self.job(job_id) / "split.json"

    def job_logs(self, job_id: str) -> Path:
        return self.job(job_id) / "logs"

    def job_checkpoints(self, job_id: str) -> Path:
        return self.job(job_id) / "checkpoints"

    def job_export(self, job_id: str) -> Path:
        return self.job(job_id) / "export.tar"

    def attempt(self, job_id: str, fence: int) -> Path:
        """The working folder of one claim; the fence in its name keeps a stale writer out."""
        return self.job(job_id) / f"attempt-{fence:04d}"

    def upload(self) -> Path:
        """A fresh path for an incoming file."""
        return self.scratch / f"upload-{str(ULID()).lower()}"

    def relative(self, path: Path) -> str:
        """The form in which the database keeps a path, so that the home folder can move."""
        return path.relative_to(self.root).as_posix()

    def absolute(self, relative: str) -> Path:
        return self.root / relative

    def publish(self, source: Path, target: Path) -> None:
        """Moves a finished folder to where it is looked for: whole or not at all, and durable."""
        sync_tree(source)
        make_folder(target.parent)
        move(source, target)

    def share(self, path: Path, source: Path | None = None) -> None:
        """Lets the other hosts see a finished file or folder, which lies at ``source`` if not at ``path``.

        It is whole there once this returns; may be repeated. Raises UnavailableError, FileNotFoundError.
        """
        if self.bundles is not None:
            self.bundles.put(source or path, self.relative(path))

    def fetch(self, path: Path) -> Path:
        """``path``, brought here from the shared storage if it is there and not here yet.

        Raises UnavailableError, StorageDamagedError. Several may fetch the same at once.
        """
        if self.bundles is not None and not path.exists():
            with self.scratch_folder("fetch") as aside:
                if self.bundles.fetch(self.relative(path), aside / path.name):
                    try:
                        self.publish(aside / path.name, path)
                    except OSError:
                        if not path.exists():
                            raise
        return path

    def discard(self, path: Path) -> None:
        """Deletes a file or folder here and in the shared storage; what that leaves is swept up later."""
        self.remove(path)
        if self.bundles is not None:
            try:
                self.bundles.remove(self.relative(path))
            except UnavailableError as error:
                logger.warning("%s is deleted here but not in the storage yet: %s", path, error.detail)

    def siblings(self, folder: Path) -> list[Path]:
        """What lies beside ``folder``, here and in the shared storage."""
        found = set(folder.parent.glob("*"))
        if self.store is not None:
            try:
                names = self.store.list_folders(self.relative(folder.parent))
                found |= {folder.parent / name for name in names}
            except UnavailableError as error:
                logger.warning("what lies beside %s stays for the sweep: %s", folder, error.detail)
        return sorted(found - {folder})

    def remove(self, path: Path) -> None:
        """Deletes a file or folder under the root; one that is gone already is no error."""
        if not path.resolve().is_relative_to(self.root.resolve()):
            raise ValueError(f"{path} is outside {self.root}")
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)

    @contextmanager
    def scratch_folder(self, name: str) -> Iterator[Path]:
        """A folder that is deleted at the end of the block."""
        folder = self.scratch / f"{name}-{str(ULID()).lower()}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def open_storage(settings: Settings) -> Storage:
    """The home folder of the settings, with the shared storage that they name if they name one."""
    return Storage(settings.home, ObjectStore(settings) if settings.storage_url else None)


def check_at_start(settings: Settings) -> None:
    """Raises StorageRefusedError, which says what to set, when the shared storage cannot be used as set.

    One that does not answer may come back: that alone is no reason not to start.
    """
    if settings.storage_url:
        try:
            ObjectStore(settings).check()
        except StorageRefusedError:
            raise
        except UnavailableError as error:
            logger.warning("%s: %s Loupe starts all the same.", settings.storage_url, error.detail)
