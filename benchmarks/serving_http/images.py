"""The images that every server is asked: photo-like JPEGs, made from a seed, the same bytes each time.

Noise does not compress as photos do, and a decoder's work follows the compressed size. So an image here is
what photos are mostly made of: smooth fields, fewer details the finer they are, and some hard edges.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

_OCTAVES = (4, 8, 16, 32, 64, 128, 256)
"""Cells along the width, from the coarsest field to the finest."""
_FINEST_COLOUR = 32
_DRAWN = (800, 600)
"""Larger images are scaled up from this, but for edges and grain."""
_GRAIN = 500
"""Side of the tile that the grain is made of."""
_QUALITIES = (40, 95)


@dataclass(frozen=True)
class ImageKind:
    """``count`` different images of this size, each of about ``wanted_bytes``."""

    name: str
    width: int
    height: int
    wanted_bytes: int
    count: int


KINDS = {
    kind.name: kind
    for kind in (
        ImageKind("110kB", 800, 600, 110_000, 60),
        # Fewer: they lie in memory twice, once as files and once as requests.
        ImageKind("12MP", 4000, 3000, 3_000_000, 12),
    )
}


def make_images(kind: ImageKind) -> list[bytes]:
    """Encoded images, all different."""
    return [_encode(_draw(kind, seed), kind.wanted_bytes) for seed in range(kind.count)]


def _draw(kind: ImageKind, seed: int) -> Image.Image:
    generator = np.random.default_rng((kind.width, seed))
    pixels = np.full((_DRAWN[1], _DRAWN[0], 3), generator.uniform(90, 160, 3), np.float32)
    for cells in _OCTAVES:
        # The amplitude falls with the frequency, as in photos; colours vary less than brightness.
        amplitude = 190.0 / cells**0.8
        pixels += _field(generator, cells)[..., np.newaxis] * amplitude
        if cells <= _FINEST_COLOUR:
            for channel in range(3):
                pixels[..., channel] += _field(generator, cells) * amplitude * 0.4
    image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    image = image.resize((kind.width, kind.height), Image.Resampling.BICUBIC)
    _add_edges(image, generator)
    return _add_grain(image, generator)


def _field(generator: np.random.Generator, cells: int) -> NDArray[np.float32]:
    """Smooth values of about -1 to 1."""
    coarse = generator.normal(0, 0.5, (cells * _DRAWN[1] // _DRAWN[0], cells)).astype(np.float32)
    return np.asarray(Image.fromarray(coarse).resize(_DRAWN, Image.Resampling.BICUBIC))


def _add_edges(image: Image.Image, generator: np.random.Generator) -> None:
    draw = ImageDraw.Draw(image)
    for _ in range(30):
        x, y = generator.uniform(0, 1, 2) * image.size
        width, height = generator.uniform(0.02, 0.2, 2) * image.width
        colour = tuple(int(value) for value in generator.integers(20, 236, 3))
        shape = draw.ellipse if generator.random() < 0.5 else draw.rectangle
        shape((x, y, x + width, y + height), outline=colour, width=max(2, image.width // 300))


def _add_grain(image: Image.Image, generator: np.random.Generator) -> Image.Image:
    """A sensor's noise."""
    tile = generator.normal(0, 4, (_GRAIN, _GRAIN, 1)).astype(np.int16)
    across, down = -(-image.width // _GRAIN), -(-image.height // _GRAIN)
    grain = np.tile(tile, (down, across, 1))[: image.height, : image.width]
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


def _encode(image: Image.Image, wanted_bytes: int) -> bytes:
    """The best quality that does not exceed the wanted size."""
    low, high = _QUALITIES
    best = _jpeg(image, low)
    while low < high:
        quality = (low + high + 1) // 2
        data = _jpeg(image, quality)
        if len(data) <= wanted_bytes:
            low, best = quality, data
        else:
            high = quality - 1
    return best


def _jpeg(image: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()
