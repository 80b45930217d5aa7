"""Width and height of a WebP file (RFC 9649): Pillow allocates its pixels already when it opens one."""

from __future__ import annotations

_VP8_START = b"\x9d\x01\x2a"


def read_webp_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels; None for what is no WebP or has no readable head."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP" or len(data) < 30:
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and data[23:26] == _VP8_START:
        width, height = (int.from_bytes(data[start : start + 2], "little") for start in (26, 28))
        return width & 0x3FFF, height & 0x3FFF
    return None
