"""Images made to cost a decoder more than their size says."""

from __future__ import annotations

import io

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
