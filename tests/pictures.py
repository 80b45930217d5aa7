"""Images made for tests, in classes that a tiny network tells apart."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (40, 60, 200), "green": (40, 180, 60), "red": (200, 50, 40)}


def make_picture(label: str, seed: int, size: int = 24, image_format: str = "PNG") -> bytes:
    """A noisy square of the class's colour; different bytes for each seed."""
    noise = np.random.default_rng([seed, *label.encode()]).normal(0, 18, (size, size, 3))
    pixels = np.clip(np.array(COLOURS[label]) + noise, 0, 255).astype(np.uint8)
    output = io.BytesIO()
    Image.fromarray(pixels).save(output, image_format)
    return output.getvalue()


def make_files(count: int = 12, labels: tuple[str, ...] = tuple(COLOURS)) -> dict[str, bytes]:
    """``count`` images a class, by their path in an archive."""
    return {
        f"{label}/{label}_{index:03d}.png": make_picture(label, index)
        for label in labels
        for index in range(count)
    }


def make_zip(files: dict[str, bytes]) -> bytes:
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return output.getvalue()


class _LegacyName(zipfile.ZipInfo):
    """An entry whose name is stored in an old encoding, which the archive does not name."""

    raw = b""

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.raw, self.flag_bits & ~0x800


def make_legacy_zip(files: dict[str, bytes], encoding: str, unicode_path: bytes | None = None) -> bytes:
    """A zip as old programs make it; ``unicode_path``: the checksummed name beside it, of that raw name."""
    output = io.BytesIO()
    with zipfile.ZipFile(output, "w") as archive:
        for name, data in files.items():
            entry = type("_Entry", (_LegacyName,), {"raw": name.encode(encoding)})(name)
            if unicode_path is not None:
                checksum = zlib.crc32(unicode_path or entry.raw)
                field = struct.pack("<BL", 1, checksum) + name.encode()
                entry.extra = struct.pack("<HH", 0x7075, len(field)) + field
            archive.writestr(entry, data)
    return output.getvalue()


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
