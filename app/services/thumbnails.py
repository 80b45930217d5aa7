"""Thumbnails of the images of a dataset. None is kept: one costs milliseconds, and clients keep them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from app.context import AppContext
from app.datasets.manifest import read_image
from app.errors import DatasetError, StorageDamagedError
from app.images.decode import DecodedImage
from app.images.thumbnails import digest_thumbnail, encode_thumbnail, fit_within
from app.inference.turns import Reading, Turns
from app.services.dataset_items import StoredImage


@dataclass(frozen=True)
class Thumbnail:
    """One that can be made. ``digest`` names its bytes."""

    image: StoredImage
    reading: Reading
    digest: str


def plan_thumbnail(context: AppContext, image: StoredImage, longest: int) -> Thumbnail:
    """No side will be longer than ``longest`` pixels."""
    item = image.item
    fit = fit_within(item.width, item.height, longest)
    reading = Reading(fit, image.pixel_range, context.settings.max_pixels)
    return Thumbnail(image, reading, digest_thumbnail(item.sha256, image.pixel_range, fit))


async def make_thumbnail(context: AppContext, turns: Turns, thumbnail: Thumbnail) -> bytes:
    """The JPEG. Raises StorageDamagedError, ImageDecodeError, and BusyError when it has no turn in time."""
    async with turns.lane():
        data = await asyncio.to_thread(_read, context, thumbnail.image)
        return await turns.read(data, thumbnail.reading, _encode)


def _read(context: AppContext, image: StoredImage) -> bytes:
    try:
        return read_image(context.storage.images, image.item)
    except DatasetError as error:
        raise StorageDamagedError(error.detail, hint=error.hint) from error


def _encode(image: DecodedImage, *_: float) -> bytes:
    return encode_thumbnail(image)
