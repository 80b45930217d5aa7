"""The images of a dataset, decoded: how training and evaluation read them."""

from __future__ import annotations

from pathlib import Path

from app.datasets.manifest import Item, read_image
from app.errors import DatasetError, ImageDecodeError, ImageTooLargeError
from app.images.decode import DecodedImage, PixelRange, decode_image
from app.images.resize import Fit


def decode_item(
    image_root: Path, item: Item, pixel_range: PixelRange | None, fit: Fit | None = None
) -> DecodedImage:
    """Decodes an image of a dataset. Raises DatasetError that names it."""
    try:
        return decode_image(read_image(image_root, item), pixel_range=pixel_range, fit=fit)
    except ImageTooLargeError as error:
        raise DatasetError(f"{item.name} ({item.id}): {error.detail}", hint=error.hint) from error
    except ImageDecodeError as error:
        raise DatasetError(
            f"{item.name} ({item.id}) could be decoded when it was imported and cannot now: {error.detail}",
            hint="Import the dataset again with this version of Loupe.",
        ) from error
