"""The only image code: bytes to RGB pixels, and pixels to a network's input size.

Import, training and predict all go through these two functions, so that a picture means the same everywhere.
"""

from __future__ import annotations

import io
from contextlib import nullcontext
from dataclasses import dataclass
from threading import Lock

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, TiffImagePlugin, WebPImagePlugin
from PIL.Image import Transpose

from app.errors import ImageDecodeError, ImageTooLargeError

MAX_PIXELS = 120_000_000
"""Unless set: cameras of 100 megapixels give 102 million pixels, phones of 108 megapixels 108 million."""
_LARGE_PIXELS = 25_000_000
_one_large_picture = Lock()
"""Decoding takes up to 18 bytes a pixel: pictures over ``_LARGE_PIXELS`` are decoded one at a time."""
RESIZE_RULE = "pillow-bilinear-stretch-1"

# Naming the plugins keeps Pillow from loading all of its forty when the first picture is opened.
_FORMATS = (
    "JPEG",  # opens MPO too, which is not registered under a name of its own
    "PNG",
    WebPImagePlugin.WebPImageFile.format,
    "BMP",
    TiffImagePlugin.TiffImageFile.format,
    "GIF",
)
_READABLE = "JPEG, PNG, WebP, BMP, TIFF, GIF or MPO"
_HEADERS = (
    b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"GIF8",
)  # fmt: skip
# (offset, first bytes there, what to call it): what people take for a picture that Loupe reads
_OTHER_KINDS = (
    (4, b"ftypheic", "a HEIC picture"),
    (4, b"ftypheix", "a HEIC picture"),
    (4, b"ftypmif1", "a HEIF picture"),
    (4, b"ftypavif", "an AVIF picture"),
    (4, b"ftyp", "a video"),
    (0, b"%PDF", "a PDF"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"\0\0\0\x0cjP", "a JPEG 2000 picture"),
    (0, b"\xff\x0a", "a JPEG XL picture"),
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
    """The most pixels of a picture in this process."""

    pixels = MAX_PIXELS


@dataclass(frozen=True)
class DecodedImage:
    """A picture's pixels and what was done to get them.

    ``pixels``: uint8 (height, width, 3), RGB, upright, read-only; ``width`` and ``height`` are theirs.
    ``format``: jpeg, png, webp, bmp, tiff, gif or mpo, by content. ``mode``: Pillow's name of its pixels.
    ``notes``: each conversion that changed the picture, in words.
    """

    pixels: NDArray[np.uint8]
    width: int
    height: int
    format: str
    mode: str
    notes: tuple[str, ...]


def limit_pixels(most: int) -> None:
    """Sets the most pixels that ``decode_image`` takes in this process. Call it before the work begins."""
    _Limit.pixels = most


def decode_image(data: bytes, *, max_pixels: int | None = None) -> DecodedImage:
    """Decodes an encoded picture, whatever its file is called.

    First page of a TIFF, first frame of an animation, EXIF orientation applied, alpha composited on white,
    16-bit greyscale divided by 257. Raises ImageTooLargeError over ``max_pixels`` (the limit of the process
    unless given), before a pixel is decoded, and ImageDecodeError for what is empty, damaged, cut short or no
    picture.
    """
    if not data:
        raise ImageDecodeError("the file is empty (0 bytes)", hint="Copy or export the picture again.")
    file = _open(data, _Limit.pixels if max_pixels is None else max_pixels)
    with _one_large_picture if file.width * file.height > _LARGE_PIXELS else nullcontext():
        return _decode(file)


def fit_to(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Resizes uint8 (H, W, 3) to uint8 (height, width, 3) by ``RESIZE_RULE``.

    ``size`` is (height, width). Pillow's bilinear filter, which averages over the source area when it shrinks
    (antialiasing); the whole picture is kept and its aspect ratio is not.
    """
    height, width = size
    if pixels.shape[:2] == size:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def looks_like_picture(data: bytes) -> bool:
    """Whether the first bytes are those of a format that ``decode_image`` reads, damaged or not."""
    return data.startswith(_HEADERS) or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")


def _open(data: bytes, max_pixels: int) -> ImageFile.ImageFile:
    Image.MAX_IMAGE_PIXELS = None  # Pillow's own limit knows nothing of ours.
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except MemoryError:
        raise
    except Exception as error:
        if looks_like_picture(data):
            raise ImageDecodeError(
                "the picture's header is damaged or cut short", hint="Copy or export the picture again."
            ) from error
        raise ImageDecodeError(
            f"the content is {_kind_of(data)}, not a picture that Loupe reads",
            hint=f"Convert it to {_READABLE}.",
        ) from error
    _check_pixels(image.size, max_pixels)
    return image


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise ImageTooLargeError(
            f"the picture has {width} x {height} = {width * height / 1e6:.1f} million pixels, "
            f"the limit is {max_pixels / 1e6:g} million",
            hint=_shrink_to(max_pixels),
        )


def _shrink_to(max_pixels: int) -> str:
    return f"Scale it down to at most {max_pixels / 1e6:g} million pixels, or raise LOUPE_MAX_PIXELS."


def _decode(file: ImageFile.ImageFile) -> DecodedImage:
    kind, mode = str(file.format).lower(), file.mode
    notes: list[str] = []
    if any(";16" in str(tile) for tile in file.tile) and mode not in ("I", "I;16", "I;16B", "I;16L"):
        notes.append("16-bit channels reduced to their high byte")
    try:
        orientation = _orientation(file, notes)
        file.load()
        image: Image.Image = file
        if orientation != 1:
            notes.append(f"EXIF orientation {orientation} applied")
            # Pillow turns a TIFF itself while loading it.
            if kind != "tiff":
                image = image.transpose(_UPRIGHT[orientation])
        if getattr(file, "is_animated", False):
            notes.append("first of several frames or pages used")
        pixels = _to_rgb(image, notes)
    except (ImageDecodeError, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise nearly every built-in exception on damaged data
        raise ImageDecodeError(
            f"the {kind.upper()} picture is damaged or cut short: {error}",
            hint="Copy or export the picture again.",
        ) from error
    height, width = pixels.shape[:2]
    return DecodedImage(pixels, width, height, kind, mode, tuple(notes))


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
    if mode == "I" or mode.startswith("I;16"):
        return _deep_grey_to_rgb(image, notes)
    if mode == "F":
        raise ImageDecodeError(
            "the picture has floating-point pixels, which have no fixed range",
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


def _deep_grey_to_rgb(image: Image.Image, notes: list[str]) -> NDArray[np.uint8]:
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 65535:
        raise ImageDecodeError(
            "the picture has 32-bit or signed pixels outside 0 to 65535, which have no fixed range",
            hint="Export it with 8 or 16 bits a channel.",
        )
    notes.append("16-bit greyscale divided by 257 and repeated to three channels")
    # A fixed divisor, not the picture's own maximum: brightness must mean the same in every picture.
    eight_bit = ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return np.repeat(eight_bit[..., np.newaxis], 3, axis=2)


def _on_white(image: Image.Image, notes: list[str]) -> Image.Image:
    layered = image.convert("RGBA")
    if layered.getchannel("A").getextrema() == (255, 255):
        return layered
    notes.append("transparency composited on white")
    return Image.alpha_composite(Image.new("RGBA", layered.size, "white"), layered)
