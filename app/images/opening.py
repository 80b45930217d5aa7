"""Encoded bytes to an opened image, of which no pixel is decoded yet: format, header and size checked."""

from __future__ import annotations

import io
from functools import cache

from PIL import AvifImagePlugin, Image, ImageFile, TiffImagePlugin, WebPImagePlugin

from app.errors import ImageDecodeError, ImageTooLargeError
from app.images.formats import READABLE, looks_like_image
from app.images.heif_boxes import count_coded_pixels
from app.images.jpeg_scans import count_scans
from app.images.silence import silence_decoders
from app.images.structure import count_parts
from app.images.webp_size import read_webp_size

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
_MOST_PARTS = 100_000
"""Of a header: a TIFF of 120 million pixels in strips of one line has less."""
_MOST_SEGMENTS = 5_000
"""Of a JPEG's, which Pillow joins one after the other."""
SCANS = "loupe_scans"
"""Where an opened JPEG image says how many scans it has, in its ``info``."""
_MOST_SCAN_PIXELS = 1_600_000_000
"""Most pixels times scans of a progressive JPEG. Encoders write about ten scans, each over all pixels."""


def open_image(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    """Reads the header. Raises ImageTooLargeError over ``max_pixels`` and ImageDecodeError."""
    if not data:
        raise ImageDecodeError("the file is empty (0 bytes)", hint="Copy or export the image again.")
    check_size(data, max_pixels)
    if count_parts(data, _MOST_PARTS) > (_MOST_SEGMENTS if data.startswith(b"\xff\xd8") else _MOST_PARTS):
        raise ImageDecodeError(
            "the image's header has more parts than any camera or program writes",
            hint="Save the image anew in a usual way.",
        )
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
    if image.format in ("JPEG", "MPO"):
        image.info[SCANS] = _check_scans(count_scans(data), image.width * image.height)
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


def check_size(data: bytes, max_pixels: int) -> None:
    """Raises ImageTooLargeError for an image of a format that must not be opened to know its size."""
    if size := read_webp_size(data):
        _check_pixels(size, max_pixels)


def _check_scans(scans: int, pixels: int) -> int:
    """A scan may be empty, a few bytes, and takes its time over all pixels nevertheless."""
    most = max(1, _MOST_SCAN_PIXELS // pixels)
    if scans > most:
        raise ImageDecodeError(
            f"the JPEG image has more than {most:,} scans for its {pixels / 1e6:.1f} million pixels, which "
            "only files made to keep a decoder busy have",
            hint="Save the image anew, or scale it down.",
        )
    return scans


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
