"""How many scans a JPEG file has, counted without decoding (ITU-T T.81, annex B)."""

from __future__ import annotations

_START_OF_SCAN = b"\xff\xda"


def count_scans(data: bytes, enough: int) -> int:
    """The scans of the file's first image; ``enough`` + 1 stands for more.

    In coded data, 0xFF is followed by zero or a restart marker, so that each marker found there is one. What
    is held in other segments, such as thumbnails, is left out.
    """
    if data.count(_START_OF_SCAN) <= 1:
        return 1
    scans, position = 0, 2
    while position + 4 <= len(data):
        if data[position] != 0xFF:
            position = data.find(b"\xff", position)  # decoders look for the next marker as well
            if position < 0:
                break
            continue
        marker = data[position + 1]
        if marker == 0xD9:  # the end of the image: another may follow
            break
        if marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8:  # these have no length
            position += 1 if marker == 0xFF else 2
            continue
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
        if marker == 0xDA:
            scans += 1
            if scans > enough:
                break
    return scans
