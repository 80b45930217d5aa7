"""The only image code: bytes to RGB pixels, and pixels to a network's input size.

Import, training and predict all go through these two functions, so that an image means the same everywhere.
"""

from __future__ import annotations

import io
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache, lru_cache
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, ExifTags, Image, ImageFile, TiffImagePlugin, WebPImagePlugin
from PIL.Image import Transpose

from app.errors import ImageDecodeError, ImageTooLargeError
from app.images.formats import READABLE, looks_like_image
from app.images.heif_boxes import count_coded_pixels
from app.images.png_chunks import check_chunks
from app.images.silence import silence_decoders

MAX_PIXELS = 120_000_000
"""Unless set: cameras of 100 megapixels give 102 million pixels, phones of 108 megapixels 108 million."""
_LARGE_PIXELS = 25_000_000
_one_large_picture = Lock()
"""Decoding takes up to 18 bytes a pixel: images over ``_LARGE_PIXELS`` are decoded one at a time."""
RESIZE_RULE = "pillow-bilinear-stretch-1"
PixelRange = tuple[int, int]
"""The values of 16-bit greyscale that become black and white."""
FULL_RANGE: PixelRange = (0, 65535)
DEEP_GREY = "16-bit greyscale"
"""How the note of such an image begins."""

# Naming the plugins keeps Pillow from loading all of its forty when the first image is opened.
_FORMATS = (
    "JPEG",  # opens MPO too, which is not registered under a name of its own
    "PNG",
    WebPImagePlugin.WebPImageFile.format,
    "BMP",
    TiffImagePlugin.TiffImageFile.format,
    "GIF",
    AvifImagePlugin.AvifImageFile.format,
)
_HEIF = "HEIF"
# Of HEIF and AVIF: colour, transparency and the whole are three planes; encoders pad a frame to whole blocks.
_CODED_FOR_EACH_PIXEL, _PADDING, _BLOCK_PIXELS = 3, 1.1, 64 * 64
# (offset, first bytes there, what to call it): what people take for an image that Loupe reads
_OTHER_KINDS = (
    (4, b"ftyp", "a video"),
    (0, b"%PDF", "a PDF"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\0\0\0\x0cjP", "a JPEG 2000 image"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
)
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


class _Limit:
    """The most pixels of an image in this process."""

    pixels = MAX_PIXELS


@dataclass(frozen=True)
class DecodedImage:
    """An image's pixels and what was done to get them.

    ``pixels``: uint8 (height, width, 3), RGB, upright, read-only; ``width`` and ``height`` are theirs.
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
    data: bytes, *, max_pixels: int | None = None, pixel_range: PixelRange | None = None
) -> DecodedImage:
    """Decodes an encoded image, whatever its file is called.

    First page of a TIFF, first frame of an animation, EXIF orientation applied, alpha composited on white,
    16-bit greyscale scaled from ``pixel_range``, by default all 16 bits. Raises ImageTooLargeError over
    ``max_pixels`` (the limit of the process unless given), before a pixel is decoded, and ImageDecodeError
    for what is empty, damaged, cut short or no image.
    """
    if not data:
        raise ImageDecodeError("the file is empty (0 bytes)", hint="Copy or export the image again.")
    file = _open(data, _Limit.pixels if max_pixels is None else max_pixels)
    with _one_large_picture if file.width * file.height > _LARGE_PIXELS else nullcontext():
        return _decode(file, data, pixel_range or FULL_RANGE)


def deep_grey_note(pixel_range: PixelRange | None) -> str:
    """The note of a 16-bit greyscale image that is read in this range."""
    if pixel_range in (None, FULL_RANGE):
        return f"{DEEP_GREY} divided by 257 and repeated to three channels"
    low, high = pixel_range or FULL_RANGE
    return f"{DEEP_GREY} scaled from {low} to {high} and repeated to three channels"


def fit_to(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resizes uint8 (H, W, 3) to uint8 (height, width, 3) by ``RESIZE_RULE``.

    ``size`` is (height, width). Pillow's bilinear filter, which averages over the source area when it shrinks
    (antialiasing); the whole image is kept and its aspect ratio is not.
    """
    height, width = size
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def _open(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit knows nothing of ours.
    silence_decoders()
    is_boxed = data[4:8] == b"ftyp" and looks_like_image(data)
    heif = _heif_plugin() if is_boxed else ()
    try:
        image = Image.open(io.BytesIO(data), formats=(*_FORMATS, *heif))
    except MemoryError:
        raise
    except Exception as error:
        if is_boxed and not heif:
            raise ImageDecodeError(
                "the image is HEIC, which needs the package pillow-heif; it is not installed",
                hint="Install pillow-heif where Loupe runs, or convert the image to JPEG.",
            ) from error
        if looks_like_image(data):
            raise ImageDecodeError(
                "the image's header is damaged or cut short", hint="Copy or export the image again."
            ) from error
        raise ImageDecodeError(
            f"the content is {_kind_of(data)}, not an image that Loupe reads",
            hint=f"Convert it to {READABLE}.",
        ) from error
    _check_pixels(image.size, max_pixels)
    if is_boxed:
        _check_coded_pixels(data, max_pixels)
    return image


@cache
def _heif_plugin() -> tuple[str, ...]:
    """Loads libheif when the first such image comes; ``docs/decisions/0007`` says why it may be missing."""
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        return ()
    register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)
    return (_HEIF,)


def _check_coded_pixels(data: bytes, max_pixels: int) -> None:
    try:
        coded = count_coded_pixels(data)
    except ValueError as error:
        raise ImageDecodeError(
            f"the image is damaged or cut short: {error}", hint="Copy or export the image again."
        ) from error
    most = _PADDING * max_pixels + _BLOCK_PIXELS
    if coded.largest > most or coded.total > _CODED_FOR_EACH_PIXEL * most:
        raise ImageTooLargeError(
            f"the image decodes to {coded.total / 1e6:.1f} million pixels in all, with "
            f"{coded.largest / 1e6:.1f} million in one part; the limit is {max_pixels / 1e6:g} million",
            hint=_shrink_to(max_pixels),
        )


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"the image has {width} x {height} = {width * height / 1e6:.1f} million pixels, "
            f"the limit is {max_pixels / 1e6:g} million",
            hint=_shrink_to(max_pixels),
        )


def _shrink_to(max_pixels: int) -> str:
    return f"Scale it down to at most {max_pixels / 1e6:g} million pixels, or raise LOUPE_MAX_PIXELS."


def _decode(file: ImageFile.ImageFile, data: bytes, pixel_range: PixelRange) -> DecodedImage:
    kind, mode = str(file.format).lower(), file.mode
    notes: list[str] = []
    largest: int | None = None
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
        file.load()
        image: Image.Image = file
        if is_deep_colour and mode in ("RGB", "RGBA"):
            largest_high_byte = int(np.asarray(image)[..., :3].max())
        if orientation != 1:
            notes.append(f"EXIF orientation {orientation} applied")
            # Pillow turns a TIFF itself while loading it.
            if kind != "tiff":
                image = image.transpose(_UPRIGHT[orientation])
        if getattr(file, "is_animated", False):
            notes.append("first of several frames or pages used")
        if image.mode == "I" or image.mode.startswith("I;16"):
            pixels, largest, is_clipped = _deep_grey_to_rgb(image, pixel_range, notes)
        else:
            pixels, is_clipped = _to_rgb(image, notes), False
    except (ImageDecodeError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly every built-in exception on damaged data
        raise ImageDecodeError(
            f"the {kind.upper()} image is damaged or cut short: {error}",
            hint="Copy or export the image again.",
        ) from error
    height, width = pixels.shape[:2]
    return DecodedImage(
        pixels, width, height, kind, mode, tuple(notes), largest, is_clipped, largest_high_byte
    )


def _kind_of(data: bytes) -> str:
    start = data[:64].lstrip() if data[:1].isspace() else data[:64]
    for offset, magic, kind in _OTHER_KINDS:
        if start[offset : offset + len(magic)] == magic:
            return kind
    return "text" if b"\0" not in data[:1024] and _is_text(data[:1024]) else "of an unknown kind"


def _is_text(start: bytes) -> bool:
    try:
        text = start.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(start) - 4 > 0  # a character cut by the slice
    return all(character.isprintable() or character.isspace() for character in text)


def _orientation(image: Image.Image, notes: list[str]) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged EXIF block is no reason to refuse sound pixels
        notes.append("EXIF data unreadable, orientation not applied")
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _to_rgb(image: Image.Image, notes: list[str]) -> NDArray[np.uint8]:
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
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _deep_grey_to_rgb(
    image: Image.Image, pixel_range: PixelRange, notes: list[str]
) -> tuple[NDArray[np.uint8], int, bool]:
    """Pixels, the largest value, and whether values lie beyond the range."""
    grey = np.asarray(image)
    smallest, largest = int(grey.min()), int(grey.max())
    if smallest < 0 or largest > FULL_RANGE[1]:
        raise ImageDecodeError(
            "the image has 32-bit or signed pixels outside 0 to 65535, which have no fixed range",
            hint="Export it with 8 or 16 bits a channel.",
        )
    low, high = pixel_range
    notes.append(deep_grey_note(pixel_range))
    if is_clipped := smallest < low or largest > high:
        notes.append(f"values of {smallest} to {largest} clipped to {low} to {high}")
    # A fixed range, not the image's own: brightness must mean the same in every image.
    eight_bit = np.take(_scale(low, high), grey)
    return np.repeat(eight_bit[..., np.newaxis], 3, axis=2), largest, is_clipped


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
