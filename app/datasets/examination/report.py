"""What an examination found: near-duplicates, labels that look wrong, images that look like no other."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from app.datasets.manifest import DatasetManifest
from app.datasets.seals import read_sealed, write_sealed
from app.features.files import EXAMINATION
from app.schemas.finding import Level
from app.schemas.message import Message


class NearPair(Message):
    """Two items that show the same thing. ``reason``: points that lie alike, or pixels that are alike;
    ``score``: 0 to 1, how sure.
    """

    first: str
    second: str
    reason: Literal["points", "pixels"]
    score: float


class NearDuplicates(Message):
    """``doubtful``: pairs that alone would join two large groups, and did not. ``same_background``: groups
    whose images have that in common, and are judged by what is in front of it. ``left_out``: pairs
    that nobody looked at, of a very large dataset.
    """

    pairs: tuple[NearPair, ...] = ()
    doubtful: tuple[NearPair, ...] = ()
    same_background: tuple[tuple[str, ...], ...] = ()
    left_out: int = 0


class SuspectLabel(Message):
    """An item, its label, and the class that it looks like; with the probability of each."""

    item: str
    label: str
    label_probability: float
    suggested: str
    suggested_probability: float


class OutlierImage(Message):
    """An item, and how alike the nearest of its class is: the cosine of their feature vectors."""

    item: str
    similarity: float


class Estimate(Message):
    """With the limits of its 95 % interval."""

    value: float
    low: float
    high: float


class Honesty(Message):
    """Of a random split that knows no groups: how many ``test_images`` it has, how many of them share a group
    with training, the accuracy ``claimed`` by such a split, and what is ``true`` of new images.
    """

    test_images: int
    shared_images: int
    claimed: Estimate
    true: Estimate


class Diagnosis(Message):
    """Something to act upon. ``code``: for programs. ``items``: the first of the images that it is about, of
    ``number``; ``classes``: those concerned.
    """

    code: str
    level: Level
    finding: str
    advice: str
    classes: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    number: int = 0


class ExaminationReport(Message):
    """The content of ``examination.json``; lists are worst first.

    ``judged``: images whose class is known well enough to suspect a label. ``missing``: why there are no
    feature vectors, and so neither suspects nor outliers. ``honesty``: None without them, and where nothing
    holds images together. ``digest``: the dataset's; None in files of earlier versions.
    """

    format_version: Literal[1] = 1
    digest: str | None = None
    diagnoses: tuple[Diagnosis, ...] = ()
    honesty: Honesty | None = None
    near_duplicates: NearDuplicates = NearDuplicates()
    judged: int = 0
    suspects: tuple[SuspectLabel, ...] = ()
    outliers: tuple[OutlierImage, ...] = ()
    missing: str | None = None


def write_examination(folder: Path, manifest: DatasetManifest, report: ExaminationReport) -> None:
    """Leaves it in the folder of a dataset."""
    write_sealed(folder / EXAMINATION, report.model_copy(update={"digest": manifest.digest}))


def read_examination(folder: Path, manifest: DatasetManifest) -> ExaminationReport | None:
    """What was found in a dataset; None if nothing looked yet, or at another dataset, or it was altered."""
    found = read_sealed(ExaminationReport, folder / EXAMINATION)
    return found if found is not None and found.digest in (None, manifest.digest) else None
