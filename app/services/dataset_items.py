"""The images of a dataset: lists of those that are wanted, page by page, and their files."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.context import AppContext
from app.datasets.manifest import DatasetManifest, Item, Split, image_path, require_image
from app.errors import (
    ConflictError,
    DatasetError,
    FieldError,
    InvalidRequestError,
    NotFoundError,
    StorageDamagedError,
)
from app.images.decode import PixelRange
from app.models import Job
from app.schemas import dataset as schemas
from app.schemas.common import Page
from app.services.dataset_manifests import position_of, read_manifest, read_positions
from app.services.examinations import require_report
from app.services.pages import decode_cursor, encode_cursor, not_a_cursor

_MOST_NAMED = 20
"""Names that a hint lists: a dataset may have thousands of groups."""

Splits = Mapping[str, str]
Condition = Callable[[Item], bool]


@dataclass(frozen=True)
class ItemFilter:
    """Which images are wanted: those for which all holds that is not None."""

    label: str | None = None
    split: Split | None = None
    group: str | None = None
    near_group: str | None = None
    suspect: bool | None = None
    outlier: bool | None = None


@dataclass(frozen=True)
class Ranking:
    """How alike each image of a dataset is to what was asked for, float32 (items,). ``without``: itself."""

    similarities: NDArray[np.float32]
    without: int | None = None

    def positions(self, after: int | None = None) -> Iterator[int]:
        """Of the images in the manifest, the most alike first; ``after``: those that come after this one."""
        start = 0 if after is None else int(np.flatnonzero(self._order == after)[0]) + 1
        for place in range(start, len(self._order)):
            if (position := int(self._order[place])) != self.without:
                yield position

    @cached_property
    def _order(self) -> NDArray[np.int32]:
        return np.argsort(-self.similarities, kind="stable").astype(np.int32)

    def similarity_of(self, position: int) -> float:
        return float(self.similarities[position])


@dataclass(frozen=True)
class StoredImage:
    """The file of an item. ``pixel_range``: how its dataset reads 16-bit greyscale."""

    path: Path
    item: Item
    pixel_range: PixelRange | None


def list_items(
    context: AppContext,
    dataset_id: str,
    wanted: ItemFilter,
    *,
    job_id: str | None,
    limit: int,
    after: str | None,
    ranking: Ranking | None = None,
) -> Page[schemas.DatasetItem]:
    """The images in the order of the manifest or of ``ranking``, with the split that each has in ``job_id``.

    Raises InvalidRequestError for what no image of the dataset can have.
    """
    manifest = read_manifest(context, dataset_id)
    splits = _splits_of_job(context, dataset_id, job_id) if job_id else None
    conditions = _conditions(manifest, wanted, splits) + _findings(context, dataset_id, wanted)
    cursor = None if after is None else read_positions(context, dataset_id).get(decode_cursor(after))
    if after is not None and cursor is None:
        raise not_a_cursor()
    positions: Iterable[int] = range(0 if cursor is None else cursor + 1, len(manifest.items))
    if ranking is not None:
        positions = ranking.positions(cursor)
    found = (
        position for position in positions if all(holds(manifest.items[position]) for holds in conditions)
    )
    taken = list(islice(found, limit + 1))
    shown, has_more = taken[:limit], len(taken) > limit
    return Page[schemas.DatasetItem](
        data=[
            to_schema(
                manifest.items[position], splits, None if ranking is None else ranking.similarity_of(position)
            )
            for position in shown
        ],
        has_more=has_more,
        next_cursor=encode_cursor(manifest.items[shown[-1]].id) if has_more else None,
    )


def get_item_image(context: AppContext, dataset_id: str, item_id: str) -> StoredImage:
    """The original image file of an item, which is there. Raises StorageDamagedError."""
    position = position_of(context, dataset_id, item_id)
    storage = context.storage
    manifest = read_manifest(context, dataset_id)
    item = manifest.items[position]
    storage.remote.download_picture(dataset_id, item.sha256)
    try:
        require_image(storage.images, item)
    except DatasetError as error:
        raise StorageDamagedError(error.detail, hint=error.hint) from error
    return StoredImage(image_path(storage.images, item.sha256), item, manifest.pixel_range)


def to_schema(item: Item, splits: Splits | None, similarity: float | None = None) -> schemas.DatasetItem:
    return schemas.DatasetItem(
        id=item.id,
        name=item.name,
        label=item.label,
        width=item.width,
        height=item.height,
        format=item.format,
        sha256=item.sha256,
        bytes=item.bytes,
        notes=list(item.notes),
        group=item.group,
        near_group=item.near_group,
        split=_split_of(item, splits),
        similarity=similarity,
    )


def _conditions(manifest: DatasetManifest, wanted: ItemFilter, splits: Splits | None) -> list[Condition]:
    """What holds for each image that is wanted. A new filter is a field of ItemFilter and its part here."""
    conditions: list[Condition] = []
    if (label := wanted.label) is not None:
        if label not in manifest.classes:
            raise _unknown("label", "class", label, manifest.classes)
        conditions.append(lambda item: item.label == label)
    if (split := wanted.split) is not None:
        if splits is None and not manifest.is_split:
            raise InvalidRequestError(
                "The dataset came without train, valid and test folders, so its images are in no split.",
                hint="Name a training with `job`: it has divided them.",
                errors=(FieldError("split", "the dataset has no splits"),),
            )
        conditions.append(lambda item: _split_of(item, splits) == split)
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
    return conditions


def _findings(context: AppContext, dataset_id: str, wanted: ItemFilter) -> list[Condition]:
    """The same of what the examination found."""
    if wanted.suspect is None and wanted.outlier is None:
        return []
    report = require_report(context, dataset_id)
    suspects = {each.item for each in report.suspects}
    outliers = {each.item for each in report.outliers}
    return [
        lambda item: wanted.suspect in (None, item.id in suspects),
        lambda item: wanted.outlier in (None, item.id in outliers),
    ]


def _unknown(field: str, kind: str, name: str, known: Sequence[str]) -> InvalidRequestError:
    more = f" and {len(known) - _MOST_NAMED:,} more" if len(known) > _MOST_NAMED else ""
    return InvalidRequestError(
        f"No image of the dataset has the {kind} {name!r}.",
        hint=f"There are: {', '.join(known[:_MOST_NAMED])}{more}." if known else f"No image has a {kind}.",
        errors=(FieldError(field, f"no such {kind}"),),
    )


def _split_of(item: Item, splits: Splits | None) -> str | None:
    return item.split if splits is None else splits.get(item.id)


def _splits_of_job(context: AppContext, dataset_id: str, job_id: str) -> Splits:
    with context.db.read() as session:
        job = session.get(Job, job_id)
    if job is None or job.dataset_id != dataset_id or job.kind != "training":
        raise NotFoundError(
            f"There is no training {job_id!r} on dataset {dataset_id}.",
            hint="`GET /jobs?kind=training` lists all trainings, each with its dataset.",
        )
    if not job.is_planned:
        raise ConflictError(f"Training {job_id} has no split yet.", hint="It gets one when it starts.")
    path = context.storage.remote.download(context.storage.job_split(job_id))
    splits: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return splits
