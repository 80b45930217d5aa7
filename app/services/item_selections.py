"""Which images of a dataset are wanted, and in which order: found once, then addressed by their place."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.context import AppContext
from app.datasets.examination.report import OutlierImage, SuspectLabel, read_examination
from app.datasets.manifest import SPLITS, DatasetManifest, Item, Split
from app.errors import ConflictError, FieldError, InvalidRequestError, NotFoundError
from app.features.files import EXAMINATION
from app.models import Job
from app.schemas.job_kinds import MODEL_MAKERS
from app.services.dataset_manifests import examined_at, manifest_in, manifest_of
from app.services.dataset_states import require_dataset, require_ready
from app.services.examinations import not_examined

_MOST_NAMED = 20
"""Names that a hint lists: a dataset may have thousands of groups."""
_KEPT = 4
"""Selections, for the next pages of who asked for them: 4 MB each of a million images."""

Positions = NDArray[np.int32]
Condition = Callable[[Item], bool]


@dataclass(frozen=True)
class ItemFilter:
    """Which images are wanted: those for which all holds that is given; of ``labels`` and ``items``, any."""

    labels: tuple[str, ...] = ()
    items: tuple[str, ...] = ()
    split: Split | None = None
    group: str | None = None
    near_group: str | None = None
    suspect: bool | None = None
    outlier: bool | None = None
    copy: bool | None = None
    near_duplicate: bool | None = None
    contradiction: bool | None = None

    @property
    def is_grouped(self) -> bool:
        """Whether images are wanted for what they share: they are shown side by side."""
        return bool(self.copy or self.near_duplicate or self.contradiction)


@dataclass(frozen=True)
class Findings:
    """What an examination says of single images, by their ids. Empty where nothing has looked."""

    suspects: Mapping[str, SuspectLabel]
    outliers: Mapping[str, OutlierImage]


@dataclass(frozen=True)
class Selection:
    """``positions``: of the wanted images in the manifest, int32 (images,), as they are shown. ``in_order``:
    that is the order of the manifest.
    """

    positions: Positions
    in_order: bool

    def place_after(self, position: int) -> int | None:
        """Where what follows an image begins; None if that cannot be said, since it is not among them."""
        found = np.flatnonzero(self.positions == position)
        if len(found):
            return int(found[0]) + 1
        return int(np.searchsorted(self.positions, position)) if self.in_order else None


@dataclass(frozen=True)
class Catalogue:
    """A dataset that is ready, and what is known of its images; its files are on this host.

    ``split_file``: of the training whose split is shown; None: the folders decide.
    """

    folder: Path
    examined_at: int | None
    found_at: int | None
    split_file: Path | None = None
    split_at: int | None = None

    @property
    def manifest(self) -> DatasetManifest:
        return manifest_in(self.folder, self.examined_at)

    @property
    def findings(self) -> Findings:
        return _read_findings(self.folder, self.examined_at, self.found_at)

    def split_of(self, position: int) -> str | None:
        if self.split_file is None:
            return self.manifest.items[position].split
        return _NAMES[_read_splits(self)[position]]

    def select(self, wanted: ItemFilter) -> Selection:
        """Raises InvalidRequestError for what no image can have, ConflictError for what nothing has found."""
        if wanted == ItemFilter():
            return Selection(np.arange(len(self.manifest.items), dtype=np.int32), in_order=True)
        return _select(self, wanted)


_NAMES: tuple[Split | None, ...] = (None, *SPLITS)


def open_catalogue(context: AppContext, dataset_id: str, job_id: str | None = None) -> Catalogue:
    """Raises NotFoundError, and ConflictError while the dataset is not ready or the training has no split."""
    with context.db.read() as session:
        dataset = require_ready(require_dataset(session, dataset_id))
    manifest_of(context.storage, dataset)
    folder = context.storage.dataset(dataset_id)
    if dataset.examination is not None:
        context.storage.remote.download(folder / EXAMINATION)
    split_file = None if job_id is None else _split_file(context, dataset_id, job_id)
    return Catalogue(
        folder,
        examined_at(folder),
        _changed_at(folder / EXAMINATION),
        split_file,
        None if split_file is None else _changed_at(split_file),
    )


def _split_file(context: AppContext, dataset_id: str, job_id: str) -> Path:
    with context.db.read() as session:
        job = session.get(Job, job_id)
    if job is None or job.dataset_id != dataset_id or job.kind not in MODEL_MAKERS:
        raise NotFoundError(
            f"There is no training {job_id!r} on dataset {dataset_id}.",
            hint="`GET /jobs?kind=training` lists all trainings, each with its dataset.",
        )
    if not job.is_planned:
        raise ConflictError(f"Training {job_id} has no split yet.", hint="It gets one when it starts.")
    return context.storage.remote.download(context.storage.job_split(job_id))


def _changed_at(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


@lru_cache(maxsize=8)
def _read_findings(folder: Path, examined_at: int | None, found_at: int | None) -> Findings:
    """The report itself is large, and is not kept."""
    report = None if found_at is None else read_examination(folder, manifest_in(folder, examined_at))
    if report is None:
        return Findings({}, {})
    return Findings(
        {each.item: each for each in report.suspects}, {each.item: each for each in report.outliers}
    )


@lru_cache(maxsize=_KEPT)
def _read_splits(catalogue: Catalogue) -> bytes:
    """The split of each image in a training, a byte each: the ids of the file would take a hundred."""
    assert catalogue.split_file is not None
    splits: dict[str, Split] = json.loads(catalogue.split_file.read_text(encoding="utf-8"))
    codes = {name: code for code, name in enumerate(_NAMES)}
    return bytes(codes[splits.get(item.id)] for item in catalogue.manifest.items)


@lru_cache(maxsize=_KEPT)
def _select(catalogue: Catalogue, wanted: ItemFilter) -> Selection:
    items = catalogue.manifest.items
    conditions = _conditions(catalogue, wanted)
    fits = np.ones(len(items), bool)
    for condition in conditions:
        fits &= np.fromiter(map(condition, items), bool, len(items))
    if wanted.split is not None:
        fits &= _has_split(catalogue, wanted.split)
    for answer, find in (
        (wanted.copy, _copies),
        (wanted.near_duplicate, _near_duplicates),
        (wanted.contradiction, _contradictions),
    ):
        if answer is not None:
            fits &= (find(items) >= 0) == answer
    positions = np.flatnonzero(fits).astype(np.int32)
    if wanted.is_grouped:
        firsts = _firsts(items, _thing)[positions]
        positions = positions[np.argsort(firsts, kind="stable")]
    positions.flags.writeable = False
    return Selection(positions, in_order=not wanted.is_grouped)


def _conditions(catalogue: Catalogue, wanted: ItemFilter) -> list[Condition]:
    """What holds for each image that is wanted. A new filter is a field of ItemFilter and its part here."""
    manifest, findings = catalogue.manifest, catalogue.findings
    conditions: list[Condition] = []
    if labels := frozenset(wanted.labels):
        if unknown := sorted(labels.difference(manifest.classes)):
            raise _unknown("label", "class", unknown[0], manifest.classes)
        conditions.append(lambda item: item.label in labels)
    if ids := frozenset(wanted.items):
        if unknown := sorted(ids.difference(item.id for item in manifest.items)):
            raise InvalidRequestError(
                f"The dataset has no image {unknown[0]!r}.",
                hint="The list without `item` shows the ids.",
                errors=(FieldError("item", "no such image"),),
            )
        conditions.append(lambda item: item.id in ids)
    if (group := wanted.group) is not None:
        groups = sorted({item.group for item in manifest.items if item.group is not None})
        if group not in groups:
            raise _unknown("group", "group", group, groups)
        conditions.append(lambda item: item.group == group)
    if (near_group := wanted.near_group) is not None:
        groups = sorted({item.near_group for item in manifest.items if item.near_group is not None})
        if near_group not in groups:
            raise _unknown("near_group", "near-duplicate group", near_group, groups)
        conditions.append(lambda item: item.near_group == near_group)
    if wanted.suspect is not None or wanted.outlier is not None or wanted.near_duplicate is not None:
        if catalogue.found_at is None:
            raise not_examined(catalogue.folder.name)
        if (suspect := wanted.suspect) is not None:
            conditions.append(lambda item: (item.id in findings.suspects) == suspect)
        if (outlier := wanted.outlier) is not None:
            conditions.append(lambda item: (item.id in findings.outliers) == outlier)
    return conditions


def _has_split(catalogue: Catalogue, split: Split) -> NDArray[np.bool_]:
    if catalogue.split_file is not None:
        codes = np.frombuffer(_read_splits(catalogue), np.uint8)
        return np.asarray(codes == _NAMES.index(split))
    manifest = catalogue.manifest
    if not manifest.is_split:
        raise InvalidRequestError(
            "The dataset came without train, valid and test folders, so its images are in no split.",
            hint="Name a training with `job`: it has divided them.",
            errors=(FieldError("split", "the dataset has no splits"),),
        )
    return np.fromiter((item.split == split for item in manifest.items), bool, len(manifest.items))


def _copies(items: Sequence[Item]) -> Positions:
    return _shared(items, lambda item: item.sha256)


def _near_duplicates(items: Sequence[Item]) -> Positions:
    return _shared(items, lambda item: item.near_group)


def _contradictions(items: Sequence[Item]) -> Positions:
    firsts = _shared(items, _thing)
    labels: dict[int, set[str]] = defaultdict(set)
    for first, item in zip(firsts.tolist(), items, strict=True):
        labels[first].add(item.label)
    divided = [first for first, names in labels.items() if first >= 0 and len(names) > 1]
    return np.where(np.isin(firsts, divided), firsts, -1).astype(np.int32)


def _thing(item: Item) -> Hashable:
    """The same for images that show the same thing: copies, and near-duplicates if an examination looked."""
    return item.near_group or item.sha256


def _shared(items: Sequence[Item], key: Callable[[Item], Hashable]) -> Positions:
    """Of each image the first position that has the same key; -1 where no other has it, or it has none."""
    firsts = _firsts(items, key)
    counts = np.bincount(firsts, minlength=len(items))
    known = np.fromiter((key(item) is not None for item in items), bool, len(items))
    return np.where(known & (counts[firsts] > 1), firsts, -1).astype(np.int32)


def _firsts(items: Sequence[Item], key: Callable[[Item], Hashable]) -> Positions:
    first: dict[Hashable, int] = {}
    return np.fromiter(
        (first.setdefault(key(item), at) for at, item in enumerate(items)), np.int32, len(items)
    )


def _unknown(field: str, kind: str, name: str, known: Sequence[str]) -> InvalidRequestError:
    more = f" and {len(known) - _MOST_NAMED:,} more" if len(known) > _MOST_NAMED else ""
    return InvalidRequestError(
        f"No image of the dataset has the {kind} {name!r}.",
        hint=f"There are: {', '.join(known[:_MOST_NAMED])}{more}." if known else f"No image has a {kind}.",
        errors=(FieldError(field, f"no such {kind}"),),
    )
