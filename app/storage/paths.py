"""Where files live under the home folder, and how a finished folder appears: aside, synced, renamed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ulid import ULID

from app.host.files import make_folder, move, sync_tree

PIECES = "pieces-"


class HomeFolder:
    """The folder tree of one Loupe. Paths only; what a file means is its owner's business."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def create(self) -> None:
        """Makes the folders that must exist."""
        for folder in (self.images, self.datasets, self.models, self.jobs, self.records, self.scratch):
            make_folder(folder)

    @property
    def images(self) -> Path:
        """Original images by SHA-256, shared by all datasets."""
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

    @property
    def extractor(self) -> Path:
        """The network that gives feature vectors of images; made on this machine where it is missing."""
        return self.root / "extractor"

    def dataset(self, dataset_id: str) -> Path:
        return self.datasets / dataset_id

    def job(self, job_id: str) -> Path:
        return self.jobs / job_id

    def job_split(self, job_id: str) -> Path:
        """Which image is in which split of this job: item id → train, valid, test."""
        return self.job(job_id) / "split.json"

    def job_examination(self, job_id: str, fence: int) -> Path:
        """What an examination leaves; the fence in its name keeps a stale writer out."""
        return self.attempt(job_id, fence) / "examination"

    def job_vectors(self, job_id: str) -> Path:
        """Feature vectors that were computed so far."""
        return self.job_checkpoints(job_id) / "vectors.partial"

    def job_edits(self, job_id: str) -> Path:
        """What this job changes in a dataset."""
        return self.job(job_id) / "edits.json"

    def job_logs(self, job_id: str) -> Path:
        return self.job(job_id) / "logs"

    def job_checkpoints(self, job_id: str) -> Path:
        return self.job(job_id) / "checkpoints"

    def job_export(self, job_id: str) -> Path:
        return self.job(job_id) / "export.tar"

    def job_predictions(self, job_id: str, fence: int) -> Path:
        """The results of a prediction over many images; the fence in its name keeps a stale writer out."""
        return self.job(job_id) / "predictions" / f"{fence:04d}"

    def attempt(self, job_id: str, fence: int) -> Path:
        """The working folder of one claim; the fence in its name keeps a stale writer out."""
        return self.job(job_id) / f"attempt-{fence:04d}"

    def upload(self) -> Path:
        """A fresh path for an incoming file."""
        return self.scratch / f"upload-{str(ULID()).lower()}"

    def pieces(self, upload_id: str) -> Path:
        """The folder of an upload that comes in pieces."""
        return self.scratch / f"{PIECES}{upload_id}"

    def find_upload(self, address: str) -> Path:
        """Where the upload lies that a row names, also where the home folder was moved or copied since: older
        rows have its whole path.
        """
        return self.scratch / Path(address).name

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
