"""The only image code: bytes to RGB pixels, whole or fitted to a network's input.

Import, training and predict all go through ``decode_opened``, so that an image means the same everywhere.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile
from PIL.Image import Transpose

from app.errors import ImageDecodeError
from app.images.opening import open_image
from app.images.png_chunks import check_chunks
from app.images.resize import Fit

MAX_PIXELS = 120_000_000
"""Unless set: cameras of 100 megapixels give 102 million pixels, phones of 108 megapixels 108 million."""
_LARGE_PIXELS = 25_000_000
_one_large_picture = Lock()
"""Decoding takes up to 20 bytes a pixel: images over ``_LARGE_PIXELS`` are decoded one at a time."""
PixelRange = tuple[int, int]
"""The values of 16-bit greyscale that become black and white."""
FULL_RANGE: PixelRange = (0, 65535)
DEEP_GREY = "16-bit greyscale"
"""How the note of such an image begins."""

_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_FIRST_TURNED = 5
"""From this EXIF orientation on, width and height are exchanged."""


class _Limit:
    """The most pixels of an image in this process."""

    pixels = MAX_PIXELS


@dataclass(frozen=True)
class DecodedImage:
    """An image's pixels and what was done to get them.

    ``pixels``: uint8 (height, width, 3), RGB, upright, read-only, of the whole image or fitted;
    ``width`` and ``height`` are those of the whole image, upright.
    ``format``: a name of ``app.images.formats``, by content. ``mode``: Pillow's name of its pixels.
    ``notes``: each conversion that changed the image, in words. ``largest``: the largest value of 16-bit
    greyscale, None for other images; ``is_clipped``: whether values lie beyond the range that was read.
    ``largest_high_byte``: of the colours of an image with 16 bits a channel, None for other images.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    format: str
    mode: str
    notes: tuple[str, ...]
    largest: int | None = None
    is_clipped: bool = False
    largest_high_byte: int | None = None


def limit_pixels(most: int) -> None:
    """Sets the most pixels that ``decode_image`` takes in this process. Call it before the work begins."""
    _Limit.pixels = most


def decode_image(
    data: bytes,
    *,
    max_pixels: int | None = None,
    pixel_range: PixelRange | None = None,
    fit: Fit | None = None,
) -> DecodedImage:
    """Decodes an encoded image, whatever its file is called.

    First page of a TIFF, first frame of an animation, EXIF orientation applied, alpha composited on white,
    16-bit greyscale scaled from ``pixel_range``, by default all 16 bits; with ``fit``, resized by its rule.
    Raises ImageTooLargeError over ``max_pixels`` (the limit of the process unless given), before a pixel is
    decoded, and ImageDecodeError for what is empty, damaged, cut short or no image.
    """
    file = open_image(data, _Limit.pixels if max_pixels is None else max_pixels)
    with _one_large_picture if file.width * file.height > _LARGE_PIXELS else nullcontext():
        return decode_opened(file, data, pixel_range=pixel_range, fit=fit)


def deep_grey_note(pixel_range: PixelRange | None) -> str:
    """The note of a 16-bit greyscale image that is read in this range."""
    if pixel_range in (None, FULL_RANGE):
        return f"{DEEP_GREY} divided by 257 and repeated to three channels"
    low, high = pixel_range or FULL_RANGE
    return f"{DEEP_GREY} scaled from {low} to {high} and repeated to three channels"


def is_deep_grey(note: str) -> bool:
    """Whether it is the note of a 16-bit greyscale image."""
    return note.startswith(DEEP_GREY)


def decode_opened(
    file: ImageFile.ImageFile, data: bytes, *, pixel_range: PixelRange | None = None, fit: Fit | None = None
) -> DecodedImage:
    """``decode_image`` of what ``open_image`` made of ``data``, and nobody has read from since."""
    kind, mode = str(file.format).lower(), file.mode
    notes: list[str] = []
    grey = _DeepGrey(pixel_range or FULL_RANGE)
    largest_high_byte: int | None = None
    is_deep_colour = any(";16" in str(tile) for tile in file.tile) and mode not in (
        "I",
        "I;16",
        "I;16B",
        "I;16L",
    )
    if is_deep_colour:
        notes.append("16-bit channels reduced to their high byte")
    try:
        if kind == "png":
            check_chunks(data)
            file.load()  # else the search for EXIF data does it, and an error would be taken for that data's
        orientation = _orientation(file, notes)
        # Pillow turns a TIFF itself while loading it.
        turn = None if kind == "tiff" else _UPRIGHT.get(orientation)
        is_turned = turn is not None and orientation >= _FIRST_TURNED
        stored = file.size
        if fit is not None:
            fit.reduce(file, is_turned=is_turned)
        is_reduced = file.size != stored
        file.load()
        # A TIFF that is turned and a damaged HEIC have other sizes once they are loaded.
        width, height = stored if is_reduced else file.size
        image: Image.Image = file
        if is_deep_colour and mode in ("RGB", "RGBA"):
            largest_high_byte = int(np.asarray(image)[..., :3].max())
        if orientation != 1:
            notes.append(f"EXIF orientation {orientation} applied")
        if getattr(file, "is_animated", False):
            notes.append("first of several frames or pages used")
        if image.mode == "I" or image.mode.startswith("I;16"):
            image = grey.to_grey(image, notes)
        else:
            image = _to_colour(image, notes)
        if fit is not None:
            image = fit.apply(image, turn=turn, is_turned=is_turned)
        elif turn is not None:
            image = image.transpose(turn)
        pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    except (ImageDecodeError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly every built-in exception on damaged data
        raise ImageDecodeError(
            f"the {kind.upper()} image is damaged or cut short: {error}",
            hint="Copy or export the image again.",
        ) from error
    if is_turned:
        width, height = height, width
    return DecodedImage(
        pixels, width, height, kind, mode, tuple(notes), grey.largest, grey.is_clipped, largest_high_byte
    )


def _orientation(image: Image.Image, notes: list[str]) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block is no reason to refuse sound pixels
        notes.append("EXIF data unreadable, orientation not applied")
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _to_colour(image: Image.Image, notes: list[str]) -> Image.Image:
    """RGB, or L for what is grey."""
    mode = image.mode
    if mode == "F":
        raise ImageDecodeError(
            "the image has floating-point pixels, which have no fixed range",
            hint="Export it with 8 or 16 bits a channel.",
        )
    if mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = _on_white(image, notes)
    elif mode == "P":
        notes.append("palette expanded to RGB")
    elif mode in ("L", "1"):
        notes.append("greyscale repeated to three channels")
    elif mode != "RGB":
        notes.append(f"{mode} converted to RGB without its colour profile")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


class _DeepGrey:
    """16-bit greyscale to 8. A fixed range, not the image's own: brightness means the same everywhere."""

    def __init__(self, pixel_range: PixelRange) -> None:
        self._range = pixel_range
        self.largest: int | None = None
        self.is_clipped = False

    def to_grey(self, image: Image.Image, notes: list[str]) -> Image.Image:
        grey = np.asarray(image)
        smallest, largest = int(grey.min()), int(grey.max())
        if smallest < 0 or largest > FULL_RANGE[1]:
            raise ImageDecodeError(
                "the image has 32-bit or signed pixels outside 0 to 65535, which have no fixed range",
                hint="Export it with 8 or 16 bits a channel.",
            )
        low, high = self._range
        notes.append(deep_grey_note(self._range))
        self.largest = largest
        self.is_clipped = smallest < low or largest > high
        if self.is_clipped:
            notes.append(f"values of {smallest} to {largest} clipped to {low} to {high}")
        return Image.fromarray(np.take(_scale(low, high), grey))


@lru_cache(maxsize=16)
def _scale(low: int, high: int) -> NDArray[np.uint8]:
    """The 8-bit value of each 16-bit one."""
    span = high - low
    above = np.arange(FULL_RANGE[1] + 1, dtype=np.int64).clip(low, high) - low
    return ((2 * 255 * above + span) // (2 * span)).astype(np.uint8)


def _on_white(image: Image.Image, notes: list[str]) -> Image.Image:
    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema() == (255, 255):
        return layered
    notes.append("transparency composited on white")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
