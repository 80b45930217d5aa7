"""Pictures made for tests, in classes that a tiny network tells apart."""

from __future__ import annotations

import io
import zipfile
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
    """``count`` pictures a class, by their path in an archive."""
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


def write_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
