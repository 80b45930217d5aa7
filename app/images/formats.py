"""The image formats that Loupe reads: the one list of their names, file extensions and first bytes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

FIRST_BYTES = 64
"""As many bytes of a file as ``looks_like_image`` needs."""


@dataclass(frozen=True)
class ImageFormat:
    """``name``: as an answer gives it. ``brands``: what an ISO media file of the format calls itself."""

    name: str
    label: str
    extensions: tuple[str, ...]
    starts: tuple[bytes, ...] = ()
    brands: tuple[bytes, ...] = ()


_CONTAINER_BRANDS = (b"mif1", b"msf1")  # HEVC or AV1 inside: only the decoders find out
FORMATS = (
    ImageFormat("jpeg", "JPEG", (
        "jpg", "jpeg", "jpe", "jfif", "jif", "jfi", "pjpeg", "pjp",
    ), (b"\xff\xd8\xff",)),
    ImageFormat("png", "PNG", ("png", "apng"), (b"\x89PNG\r\n\x1a\n",)),
    ImageFormat("webp", "WebP", ("webp",)),
    ImageFormat("heif", "HEIC", ("heic", "heif", "hif", "heics", "heifs"), brands=(
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", *_CONTAINER_BRANDS,
    )),
    ImageFormat("avif", "AVIF", ("avif", "avifs"), brands=(b"avif", b"avis", *_CONTAINER_BRANDS)),
    ImageFormat("bmp", "BMP", ("bmp", "dib"), (b"BM",)),
    ImageFormat("tiff", "TIFF", ("tif", "tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ImageFormat("gif", "GIF", ("gif",), (b"GIF8",)),
    ImageFormat("mpo", "MPO", ("mpo",)),  # a JPEG by its first bytes
)  # fmt: skip
READABLE = ", ".join(entry.label for entry in FORMATS[:-1]) + f" or {FORMATS[-1].label}"
_BY_EXTENSION = {extension: entry.name for entry in FORMATS for extension in entry.extensions}
_STARTS = tuple(start for entry in FORMATS for start in entry.starts)


def format_of_name(name: str) -> str | None:
    """The format that a file's extension promises."""
    return _BY_EXTENSION.get(PurePosixPath(name).suffix[1:].lower())


def looks_like_image(data: bytes) -> bool:
    """Whether the first bytes are those of a format that Loupe reads, damaged or not."""
    return (
        data.startswith(_STARTS)
        or (data[:4] == b"RIFF" and data[8:12] == b"WEBP")
        or any(has_brand(data, entry) for entry in FORMATS if entry.brands)
    )


def is_meant_as_image(name: str, data: bytes) -> bool:
    """Whether a file is an image by its name or its first bytes: what else cannot be decoded is damaged."""
    return format_of_name(name) is not None or looks_like_image(data)


def has_brand(data: bytes, entry: ImageFormat) -> bool:
    """Whether an ISO media file starts with one of the format's major brands."""
    return data[4:8] == b"ftyp" and data[8:12] in entry.brands
