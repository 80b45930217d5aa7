"""The images of a dataset: lists of those that are wanted, page by page, and their files."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.context import AppContext
from app.datasets.manifest import Item, image_path, require_image
from app.errors import DatasetError, FieldError, InvalidRequestError, StorageDamagedError
from app.images.decode import PixelRange
from app.schemas import dataset as schemas
from app.services.dataset_manifests import position_of, read_manifest, read_positions
from app.services.item_selections import Catalogue, ItemFilter, Selection, open_catalogue
from app.services.pages import decode_cursor, encode_cursor, not_a_cursor


@dataclass(frozen=True)
class Ranking:
    """How alike each image of a dataset is to what was asked for, float32 (items,). ``without``: itself."""

    similarities: NDArray[np.float32]
    without: int | None = None

    @cached_property
    def order(self) -> NDArray[np.int32]:
        """Positions of the images in the manifest, int32, the most alike first."""
        order = np.argsort(-self.similarities, kind="stable").astype(np.int32)
        return order if self.without is None else order[order != self.without]

    def rank(self, selection: Selection) -> Selection:
        """The same images, the most alike first."""
        is_wanted = np.zeros(len(self.similarities), bool)
        is_wanted[selection.positions] = True
        return Selection(self.order[is_wanted[self.order]], in_order=False)

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
    after: str | None = None,
    start: int | None = None,
    ranking: Ranking | None = None,
) -> schemas.DatasetItemPage:
    """Images from a cursor or a place on, in the order of the manifest, of what they share or of ``ranking``.

    Raises InvalidRequestError for what no image of the dataset can have.
    """
    if after is not None and start is not None:
        raise InvalidRequestError(
            "A page begins after a cursor or at a place, not both.",
            hint="Leave out `after` or `start`.",
            errors=(FieldError("start", "not together with after"),),
        )
    catalogue = open_catalogue(context, dataset_id, job_id)
    selection = catalogue.select(wanted)
    if ranking is not None:
        selection = ranking.rank(selection)
    if after is not None:
        start = _place_after(context, dataset_id, selection, after)
    begin = start or 0
    total = len(selection.positions)
    has_more = begin + limit < total
    shown = selection.positions[begin : begin + limit].tolist()
    return schemas.DatasetItemPage(
        data=[
            describe_item(catalogue, position, None if ranking is None else ranking.similarity_of(position))
            for position in shown
        ],
        has_more=has_more,
        next_cursor=encode_cursor(catalogue.manifest.items[shown[-1]].id) if has_more else None,
        start=begin,
        total=total,
    )


def _place_after(context: AppContext, dataset_id: str, selection: Selection, cursor: str) -> int:
    position = read_positions(context, dataset_id).get(decode_cursor(cursor))
    place = None if position is None else selection.place_after(position)
    if place is None:
        raise not_a_cursor()
    return place


def get_item(context: AppContext, dataset_id: str, item_id: str, job_id: str | None) -> schemas.DatasetItem:
    """One image, with the split that it has in ``job_id``. Raises NotFoundError."""
    return describe_item(
        open_catalogue(context, dataset_id, job_id), position_of(context, dataset_id, item_id)
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


def describe_item(
    catalogue: Catalogue, position: int, similarity: float | None = None
) -> schemas.DatasetItem:
    """The image at a position of the manifest."""
    item = catalogue.manifest.items[position]
    suspect = catalogue.findings.suspects.get(item.id)
    outlier = catalogue.findings.outliers.get(item.id)
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
        split=catalogue.split_of(position),
        suspicion=None
        if suspect is None
        else schemas.Suspicion(**suspect.model_dump(exclude={"item", "label"})),
        class_similarity=None if outlier is None else outlier.similarity,
        similarity=similarity,
    )
