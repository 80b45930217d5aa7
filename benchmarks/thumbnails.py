"""What a thumbnail costs, by the format and size of the original and the format of the thumbnail.

``python -m benchmarks.thumbnails``
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from app.images.decode import decode_image
from app.images.thumbnails import encode_thumbnail, fit_within

ORIGINALS = [
    ("JPEG", 640, 480),
    ("JPEG", 1920, 1080),
    ("JPEG", 4000, 3000),
    ("PNG", 640, 480),
    ("PNG", 1920, 1080),
]
SIZES = (96, 256, 1024)
OTHERS: dict[str, dict[str, Any]] = {"WEBP": {"quality": 80}, "PNG": {}}
TRIES = 7


def main() -> None:
    print("| original | size | decode, ms | JPEG, ms | kB | WebP, ms | kB | PNG, ms | kB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for kind, width, height in ORIGINALS:
        data = encode(make_photo(width, height), kind)
        for size in SIZES:
            print(
                f"| {kind} {width} x {height}, {len(data) // 1000} kB | {size} |",
                *cells(data, width, height, size),
            )


def cells(data: bytes, width: int, height: int, size: int) -> list[str]:
    fit = fit_within(width, height, size)
    image = decode_image(data, fit=fit)
    pixels = Image.fromarray(image.pixels)
    ways: list[Callable[[], bytes]] = [lambda: encode_thumbnail(image)]
    ways += [lambda kind=kind: encode(pixels, kind, **OTHERS[kind]) for kind in OTHERS]  # type: ignore[misc]
    written = [f"{core_ms(way):.1f} | {len(way()) / 1000:.1f} |" for way in ways]
    return [f"{core_ms(lambda: decode_image(data, fit=fit)):.1f} |", *written]


def core_ms(work: Callable[[], object]) -> float:
    """The least of several times."""
    times = []
    for _ in range(TRIES):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return 1000 * min(times)


def make_photo(width: int, height: int) -> Image.Image:
    """Soft shapes with the noise of a sensor."""
    random = np.random.default_rng(0)
    shapes = Image.fromarray(random.integers(0, 255, (height // 16, width // 16, 3), dtype=np.uint8))
    pixels = np.asarray(shapes.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    noisy = pixels + random.normal(0, 6, pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    output = io.BytesIO()
    image.save(output, kind, **options)
    return output.getvalue()


if __name__ == "__main__":
    main()
