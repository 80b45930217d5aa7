"""Whether a PNG's chunks are as they were written: Pillow skips the checksums of the pixels."""

from __future__ import annotations

import struct
import zlib

_SIGNATURE_BYTES = 8
_LOWER_CASE = 0x20  # in the first letter of a chunk's name: a decoder may do without it


def check_chunks(data: bytes) -> None:
    """Raises ValueError where a chunk that the first image needs is damaged or cut short.

    The later frames of an APNG are chunks that it can do without.
    """
    view, place = memoryview(data), _SIGNATURE_BYTES
    while place + 8 <= len(data):
        size, name = struct.unpack_from(">L4s", data, place)
        end = place + 8 + size
        if not name[0] & _LOWER_CASE:
            if end + 4 > len(data):
                raise ValueError(f"its chunk {name!r} is cut short")
            if zlib.crc32(view[place + 4 : end]) != int.from_bytes(view[end : end + 4]):
                raise ValueError(f"the checksum of its chunk {name!r} is wrong")
        if name == b"IEND":
            return
        place = end + 4
