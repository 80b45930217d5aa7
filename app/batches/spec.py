"""What a prediction over many images is asked to do, and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from app.datasets.sources import Limits
from app.schemas.message import Message
from app.schemas.product import MAX_ERROR


class ArchiveInput(Message):
    """An upload. ``name_encoding``: of the names that declare none."""

    kind: Literal["archive"] = "archive"
    path: Path
    limits: Limits = Limits()
    name_encoding: str | None = None


class DatasetInput(Message):
    """``dataset`` and ``image_root`` are folders."""

    kind: Literal["dataset"] = "dataset"
    dataset: Path
    image_root: Path


class BatchSpec(Message):
    """``artifact``: the folder of the model ``model``, whose digest must be ``artifact_digest``.

    ``max_error``: the share of accepted answers that may be wrong. ``threads``: images worked on at once.
    ``images_per_minute``: no more than so many; None: as many as go.
    ``checkpoint_root``: where this attempt saves; ``resume_from``: where earlier ones did, newest first.
    """

    format_version: Literal[1] = 1
    model: str
    artifact: Path
    artifact_digest: str
    top_k: int
    max_error: float = MAX_ERROR
    source: Annotated[ArchiveInput | DatasetInput, Field(discriminator="kind")]
    threads: int
    images_per_minute: int | None = None
    checkpoint_root: Path
    checkpoint_seconds: float
    resume_from: tuple[Path, ...] = ()


class WrittenFile(Message):
    """Size in bytes and SHA-256 of a file."""

    bytes: int
    sha256: str


class SkippedFile(Message):
    """A file of the upload that is no image, and why."""

    name: str
    reason: str


class BatchResult(Message):
    """``images``: lines of the results, of which ``errors`` have an error in place of an answer.

    ``rejected``: answers whose decision was to reject. ``skipped``: files that were no images;
    ``skipped_files``: the first of them. ``files``: by name.
    """

    images: int
    errors: int
    rejected: int = 0
    skipped: int
    skipped_files: tuple[SkippedFile, ...]
    files: dict[str, WrittenFile]
