"""How fast images come in: decoded and resized, written as records once, read from them while training."""

from __future__ import annotations

import argparse
import io
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from rich.console import Console
from rich.table import Table

from app.datasets.importer import import_dataset
from app.datasets.manifest import load_manifest
from app.datasets.sources import Limits
from app.datasets.tfrecord import RecordReader, ensure_records
from app.images.decode import decode_image
from app.images.resize import FIRST_RULE, Fit


def make_photo(number: int) -> bytes:
    """A JPEG of 500 by 375 pixels that costs about what a photo of that size costs to decode."""
    pixels = np.random.default_rng(number).integers(0, 256, (375, 500, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(2)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--size", type=int, default=96, help="input size in pixels")
    arguments = parser.parse_args()
    count, size = arguments.pictures, (arguments.size, arguments.size)
    photos = [make_photo(number) for number in range(count)]
    table = Table("step", "pictures/s", title=f"{count} JPEGs of 500 x 375 px, to {size[0]} px")

    def measure(step: str, pictures: int, started: float) -> None:
        table.add_row(step, f"{pictures / (time.perf_counter() - started):,.0f}")

    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        with zipfile.ZipFile(root / "upload.zip", "w") as archive:
            for number, photo in enumerate(photos):
                archive.writestr(f"class{number % 10}/{number}.jpg", photo)

        started = time.perf_counter()
        for photo in photos:
            decode_image(photo, fit=Fit(FIRST_RULE, size))
        measure("decode and resize, one thread", count, started)

        started = time.perf_counter()
        import_dataset(
            root / "upload.zip",
            root / "images",
            root / "dataset",
            root / "scratch",
            Limits(),
            lambda *_: None,
        )
        measure("import from a zip", count, started)

        manifest = load_manifest(root / "dataset")
        started = time.perf_counter()
        folder = ensure_records(manifest, root / "images", size, root / "records")
        measure("write records", count, started)

        reader = RecordReader(folder)
        batches = np.random.default_rng(0).integers(0, count, (1000, 32))
        started = time.perf_counter()
        for batch in batches:
            reader.read(batch)
        measure("read records at random, batches of 32", batches.size, started)
    Console().print(table)


if __name__ == "__main__":
    main()
