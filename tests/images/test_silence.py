"""No image makes its decoder write into the log."""

from __future__ import annotations

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

SHORT, LONG = 3, 4
DECODE = """
import logging, sys
from pathlib import Path
from app.errors import LoupeError
from app.images.decode import decode_image
from app.logs import configure_logging
configure_logging("DEBUG", "text")
try:
    decode_image(Path(sys.argv[1]).read_bytes())
except LoupeError:
    pass
"""


def make_tiff(compression: int, bits: int, rows: int, tags: int = 0) -> bytes:
    """A TIFF of one strip of noise, with ``tags`` more entries that lead nowhere."""
    noise = random.Random(0).randbytes(200_000)
    entries = [
        (256, LONG, 1, 64),
        (257, LONG, 1, rows),
        (258, SHORT, 1, bits),
        (259, SHORT, 1, compression),
        (262, SHORT, 1, 1),
        (273, LONG, 1, 8 + 2 + 12 * (9 + tags) + 4),
        (277, SHORT, 1, 1),
        (278, LONG, 1, rows),
        (279, LONG, 1, len(noise)),
        *((40_000 + index, 9, 0xFFFFFF, 0xFFFFFF) for index in range(tags)),
    ]
    found = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + found + bytes(4) + noise


@pytest.mark.parametrize(
    "data",
    [
        make_tiff(compression=3, bits=1, rows=100_000),
        make_tiff(compression=4, bits=1, rows=100_000),
        make_tiff(compression=5, bits=8, rows=100_000),
        make_tiff(compression=7, bits=8, rows=10_000),
        make_tiff(compression=8, bits=8, rows=10_000),
        make_tiff(compression=32773, bits=8, rows=10_000),
        make_tiff(compression=1, bits=8, rows=10_000, tags=20_000),
    ],
    ids=["fax3", "fax4", "lzw", "jpeg", "deflate", "packbits", "tags"],
)
def test_a_damaged_tiff_leaves_no_line_in_the_log_of_its_process(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "noise.tif").write_bytes(data)
    ended = subprocess.run(
        [sys.executable, "-c", DECODE, str(tmp_path / "noise.tif")], capture_output=True, check=True
    )
    assert ended.stderr == b""
