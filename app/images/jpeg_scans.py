"""How many scans a JPEG file has, counted without decoding (ITU-T T.81, annex B)."""

from __future__ import annotations

_START_OF_SCAN = b"\xff\xda"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers that begin a frame; the others of this range are tables."""
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})


def count_scans(data: bytes) -> int:
    """1 for what is decoded line by line; else its scans, and a few more where other images are in the file.

    In coded data, 0xFF is followed by zero or a restart marker, so that each marker found there is one.
    """
    return data.count(_START_OF_SCAN) if _needs_several(data) else 1


def _needs_several(data: bytes) -> bool:
    """Whether the first scan is a part of the image alone: a decoder then keeps all of it in memory."""
    place, channels = 2, 0
    while place + 10 <= len(data):
        if data[place] != 0xFF:
            place = data.find(b"\xff", place)  # decoders look for the next marker as well
            if place < 0:
                break
            continue
        marker = data[place + 1]
        if marker in _PROGRESSIVE:
            return True
        if marker in _FRAMES:
            channels = data[place + 9]
        if marker == 0xDA:
            return data[place + 4] < channels
        has_length = marker not in (0x00, 0x01, 0xFF) and not 0xD0 <= marker <= 0xD9
        place += 2 + int.from_bytes(data[place + 2 : place + 4]) if has_length else 1 if marker == 0xFF else 2
    return False
