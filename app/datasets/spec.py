"""What an import or an export is asked to do, and what it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, RootModel

from app.datasets.sources import Limits
from app.schemas.hyperparameters import SplitSettings
from app.schemas.import_choices import ImportChoices
from app.schemas.message import Message


class ExaminationTools(Message):
    """What an examination needs. ``extractor``: the folder that it lies in, or is made in; ``weights_root``:
    where published weights lie; ``partial``: a file for what is done before a process is killed.
    """

    extractor: Path
    weights_root: Path
    partial: Path


class ImportSpec(Message):
    """``source``: a folder or an archive. ``out``: the dataset's folder, ``image_root``: all images'.

    ``is_upload``: whether ``source`` is a file of ours; if not, it must lie below one of ``roots``, where any
    are set, and no part of its path may be a link.
    """

    format_version: Literal[1] = 1
    kind: Literal["import"] = "import"
    source: Path
    is_upload: bool = True
    roots: tuple[Path, ...] = ()
    image_root: Path
    out: Path
    limits: Limits = Limits()
    choices: ImportChoices = ImportChoices()
    tools: ExaminationTools | None = None


class RevisionSpec(Message):
    """``sources``: the folders of datasets, first the one that is edited, then those whose images join.
    ``edits``: a JSON file. ``out``: the new dataset's folder.
    """

    format_version: Literal[1] = 1
    kind: Literal["revision"] = "revision"
    sources: tuple[Path, ...]
    edits: Path
    image_root: Path
    out: Path
    tools: ExaminationTools | None = None


class ExaminationSpec(Message):
    """``dataset``: the folder of a dataset that is there already. ``out``: where its examination is left."""

    format_version: Literal[1] = 1
    kind: Literal["examination"] = "examination"
    dataset: Path
    image_root: Path
    out: Path
    tools: ExaminationTools


class Examination(Message):
    """What was found by looking at the images. ``network`` and ``extractor``, the SHA-256 of its file, made
    the feature vectors, each of so many ``dimensions``; None: there are none. ``near_groups``: groups of
    images that show the same thing, ``near_images`` in all. ``suspects``: labels that look wrong, among the
    ``judged`` images; ``outliers``: images that look like no other of their class.
    """

    network: str | None
    extractor: str | None
    dimensions: int | None
    near_groups: int = 0
    near_images: int = 0
    judged: int = 0
    suspects: int = 0
    outliers: int = 0


class ExaminationResult(Message):
    """``missing``: why there are no feature vectors."""

    examination: Examination
    missing: str | None = None


class ClassCount(Message):
    name: str
    count: int


class ImportResult(Message):
    """``counts``: images by split, None where the upload was not split. ``skipped``: files left out."""

    digest: str
    classes: tuple[ClassCount, ...]
    items: int
    counts: dict[str, int] | None
    skipped: int
    warnings: tuple[str, ...]
    examination: Examination | None = None


class ExportSpec(Message):
    """``dataset`` and ``image_root`` are folders, ``out`` is the tar to write.

    ``split``: a JSON file, item id to split. ``draw``: the split to make, with its seed. Neither: the split
    that the dataset came with. ``image_size``: (height, width) in pixels, for TFRecords.
    """

    format_version: Literal[1] = 1
    kind: Literal["export"] = "export"
    dataset: Path
    image_root: Path
    format: Literal["folders", "tfrecord"]
    image_size: tuple[int, int] | None = None
    compression: Literal["gzip"] | None = None
    split: Path | None = None
    draw: SplitSettings | None = None
    out: Path


class ExportResult(Message):
    format: Literal["folders", "tfrecord"]
    items: int
    bytes: int


class DatasetWork(
    RootModel[
        Annotated[ImportSpec | RevisionSpec | ExaminationSpec | ExportSpec, Field(discriminator="kind")]
    ]
):
    """What ``python -m app.datasets`` finds in its ``spec.json``."""
