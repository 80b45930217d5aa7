"""Of how many parts a file is made, counted without a decoder.

Pillow reads a header part by part in Python, and some of it again for each part: a file of thousands of them
is made to keep it busy. Photos have tens.
"""

from __future__ import annotations

import struct

_JPEG, _PNG, _GIF = b"\xff\xd8\xff", b"\x89PNG", b"GIF8"
_TIFF = {b"II*\0": "<", b"MM\0*": ">", b"II+\0": "<", b"MM\0+": ">"}
_TIFF_TEXT = (1, 2, 6, 7)
"""Types of bytes and text: one value, however long."""
_GIF_EXTENSION, _GIF_IMAGE = 0x21, 0x2C


def count_parts(data: bytes, enough: int) -> int:
    """Segments, chunks, blocks or values before the pixels; at most a little over ``enough``.

    0 for formats whose header is read by a library in C.
    """
    if data.startswith(_JPEG):
        return _count_segments(data, enough)
    if data.startswith(_PNG):
        return _count_chunks(data, enough)
    if data.startswith(_GIF):
        return _count_blocks(data, enough)
    order = _TIFF.get(data[:4])
    return 0 if order is None else _count_values(data, order)


def _count_segments(data: bytes, enough: int) -> int:
    parts, place = 0, 2
    while place + 4 <= len(data) and parts <= enough:
        if data[place] != 0xFF:
            # Decoders look on for a marker, byte by byte.
            place = data.find(b"\xff", place)
            if place < 0:
                break
            parts += 1
            continue
        marker = data[place + 1]
        if marker == 0xDA:
            break
        parts += 1
        has_length = marker not in (0x00, 0x01, 0xFF) and not 0xD0 <= marker <= 0xD9
        place += 2 + int.from_bytes(data[place + 2 : place + 4]) if has_length else 1 if marker == 0xFF else 2
    return parts


def _count_chunks(data: bytes, enough: int) -> int:
    parts, place = 0, 8
    while place + 8 <= len(data) and parts <= enough:
        parts += 1
        if data[place + 4 : place + 8] == b"IEND":
            break  # what follows is no part of the image
        place += 12 + int.from_bytes(data[place : place + 4])
    return parts


def _count_blocks(data: bytes, enough: int) -> int:
    if len(data) < 13:
        return 0
    parts, place = 0, 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while place < len(data) and data[place] != _GIF_IMAGE and parts <= enough:
        parts += 1
        if data[place] != _GIF_EXTENSION:
            place += 1
            continue
        place += 2
        while place < len(data) and data[place] and parts <= enough:
            parts += 1
            place += 1 + data[place]
        place += 1
    return parts


def _count_values(data: bytes, order: str) -> int:
    """The values of the first directory, of which Pillow makes an object each."""
    is_big = data[2:4] in (b"+\0", b"\0+")
    at, count, entry, size = (8, "Q", "HHQ", 20) if is_big else (4, "H", "HHL", 12)
    try:
        (place,) = struct.unpack_from(order + ("Q" if is_big else "L"), data, at)
        (entries,) = struct.unpack_from(order + count, data, place)
        values = min(entries, len(data) // size)
        place += struct.calcsize(order + count)
        for index in range(values):
            _, kind, number = struct.unpack_from(order + entry, data, place + index * size)
            if kind not in _TIFF_TEXT:
                values += number
        return int(values)
    except (struct.error, OverflowError):
        return 0  # cut short: the decoder says so
