"""What decoding an image will cost, known from its header and its size in bytes."""

from __future__ import annotations

from PIL import ImageFile

from app.images.opening import SCANS
from app.images.resize import Fit
from app.images.structure import count_parts
from app.images.webp_size import read_webp_size

_LIGHT_PIXELS = 4_000_000
_LIGHT_SCAN_PIXELS = 48_000_000
"""Of a JPEG: pixels times scans. Its decoder writes no more pixels than the input needs."""
_LIGHT_BYTES = 8 * 2**20
"""Of the file: a TIFF may hold as many entries as fit into it, each of which Pillow reads."""
_LIGHT_PARTS = 2_000
"""Of the header: Pillow takes about 10 microseconds for each."""
_LIGHT_KINDS = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"BM", b"RIFF", b"II*\0", b"MM\0*")
"""First bytes of the formats that may be light. Decoders of video take ten times as long a pixel."""
_CODED_KINDS = (b"BM", b"GIF8", b"II", b"MM")
_LIGHT_CODED_BYTES = 256 * 2**10
"""Of formats whose blocks Pillow reads in Python, or which may hold more than their pixels need."""
_FOR_EACH_PIXEL = {"WEBP": 20, "AVIF": 14, "HEIF": 14}
"""Measured, with a margin, as bytes beside the file: ``benchmarks/decoding.py``. Other formats go by what
their pixels are, since it is not the decoder that takes the most.
"""
_OPAQUE, _DEEP, _TRANSPARENT = 8, 16, 20
_OPAQUE_MODES = ("1", "L", "RGB", "YCbCr", "CMYK", "LAB", "HSV")
_COEFFICIENTS_FOR_EACH_PIXEL = 6
"""Of a JPEG that is not decoded line by line: two bytes for each of three channels."""


def may_be_light(data: bytes) -> bool:
    """Whether it is worth to open the image: else it is not light, whatever its header says."""
    return (
        len(data) <= _LIGHT_BYTES
        and data.startswith(_LIGHT_KINDS)
        and (len(data) <= _LIGHT_CODED_BYTES or not data.startswith(_CODED_KINDS) or _is_plain_bmp(data))
        and count_parts(data, _LIGHT_PARTS) <= _LIGHT_PARTS
    )


def _is_plain_bmp(data: bytes) -> bool:
    """Whether its pixels are not run-length coded: runs may go on past the image."""
    return data.startswith(b"BM") and data[30:34] == bytes(4)


def is_light(file: ImageFile.ImageFile, fit: Fit) -> bool:
    """Whether decoding takes at most about a quarter of a second and 80 MB."""
    pixels = file.width * file.height
    if file.format in ("JPEG", "MPO"):
        return pixels * file.info[SCANS] <= _LIGHT_SCAN_PIXELS and estimate_bytes(file, fit) <= 80e6
    return pixels <= _LIGHT_PIXELS


def estimate_opening_bytes(data: bytes) -> int:
    """About the most memory that opening the image takes beside the file, in bytes."""
    width, height = read_webp_size(data) or (0, 0)
    return width * height * _FOR_EACH_PIXEL["WEBP"]


def estimate_bytes(file: ImageFile.ImageFile, fit: Fit) -> int:
    """About the most memory that decoding and fitting takes beside the file, in bytes.

    ``file``: what ``open_image`` made.
    """
    pixels = file.width * file.height
    if file.format in ("JPEG", "MPO"):
        kept = _COEFFICIENTS_FOR_EACH_PIXEL * pixels if file.info[SCANS] > 1 else 0
        return kept + _OPAQUE * fit.estimate_reduced(file)
    return pixels * _FOR_EACH_PIXEL.get(str(file.format), _for_each_pixel(file))


def _for_each_pixel(file: ImageFile.ImageFile) -> int:
    if file.mode in _OPAQUE_MODES and "transparency" not in file.info:
        return _OPAQUE
    return _DEEP if file.mode == "F" or file.mode.startswith("I") else _TRANSPARENT
