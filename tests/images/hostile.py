"""Images made to cost a decoder more than their size says."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def flat(kind: str, side: int, **options: object) -> bytes:
    """A square of one colour: a few kilobytes that decode to many pixels."""
    data = io.BytesIO()
    Image.new("RGB", (side, side), (90, 120, 130)).save(data, kind, **options)
    return data.getvalue()


def with_empty_scans(side: int, scans: int) -> bytes:
    """A progressive JPEG whose last scan, of a few bytes, comes ``scans`` times more."""
    data = flat("JPEG", side, progressive=True)
    end = data.rindex(b"\xff\xd9")
    last = data[data.rindex(b"\xff\xda") : end]
    return data[:end] + last * scans + data[end:]


def noise(kind: str, side: int, **options: object) -> bytes:
    """A square that no encoder makes small."""
    data = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(data, kind, **options)
    return data.getvalue()


def with_segments(count: int, segment: bytes = b"\xff\xe1\x00\x12Exif\x00\x00" + bytes(10)) -> bytes:
    """A JPEG with the same segment many times before its pixels."""
    data = flat("JPEG", 16)
    return data[:2] + segment * count + data[2:]


def with_chunks(count: int) -> bytes:
    """A PNG with many empty chunks that a decoder may skip."""
    data = flat("PNG", 16)
    chunk = struct.pack(">L", 0) + b"aaAa" + struct.pack(">L", zlib.crc32(b"aaAa"))
    return data[:33] + chunk * count + data[33:]


def with_comments(count: int) -> bytes:
    """A GIF with many comments of one letter."""
    data = flat("GIF", 16)
    start = 13 + (3 << (data[10] & 7) + 1)
    return data[:start] + b"\x21\xfe\x01a\x00" * count + data[start:]


def with_strips(count: int) -> bytes:
    """A TIFF whose directory says that its pixels lie in so many strips."""
    entries = [(256, 4, 1, 16), (257, 4, 1, 16), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    entries += [(273, 4, count, 200), (277, 3, 1, 1), (278, 4, 1, 1), (279, 4, count, 200)]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHLL", *each) for each in entries)
    head = b"II*\0" + struct.pack("<L", 8) + directory + bytes(4)
    return head.ljust(200, b"\0") + struct.pack("<L", 8) * count
