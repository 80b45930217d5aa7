"""Copies of images as people make them: cropped, saved again, brightened, resized, flipped, in bursts."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

Alteration = Callable[[Image.Image, np.random.Generator], Image.Image]


def crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """5 to 15 % of the width and of the height are cut off, the rest of it anywhere."""
    width, height = image.size
    cut_x, cut_y = rng.uniform(0.05, 0.15, 2) * (width, height)
    left, top = rng.uniform(0, cut_x), rng.uniform(0, cut_y)
    box = (left, top, left + width - cut_x, top + height - cut_y)
    return image.crop(tuple(round(side) for side in box))


def save_as_jpeg(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    data = io.BytesIO()
    image.save(data, "JPEG", quality=int(rng.integers(40, 91)))
    return Image.open(data).convert("RGB")


def brighten(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(image).enhance(rng.uniform(0.8, 1.2))


def resize(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """To 50 to 150 % of its size; half of them to a square, whatever their shape."""
    width, height = image.size
    factor = rng.uniform(0.5, 1.5)
    if rng.random() < 0.5:
        width = height = round((width * height) ** 0.5)
    return image.resize((round(width * factor), round(height * factor)), Image.Resampling.BICUBIC)


def flip(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageOps.mirror(image) if rng.random() < 0.5 else ImageOps.flip(image)


def turn(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """By 2 to 5 degrees, and cropped so that no corner is empty."""
    angle = rng.uniform(2, 5) * rng.choice((-1, 1))
    width, height = image.size
    lost = 0.5 * np.tan(np.radians(abs(angle)))
    box = (lost * height, lost * width, width - lost * height, height - lost * width)
    return image.rotate(angle, Image.Resampling.BICUBIC).crop(tuple(round(side) for side in box))


def turn_by_quarter(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """To one side or the other, as cameras and augmentations do."""
    left = rng.random() < 0.5
    return image.transpose(Image.Transpose.ROTATE_90 if left else Image.Transpose.ROTATE_270)


def letterbox(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Bars of 10 to 30 % of the longer side, above and below or at both sides, black, grey or white."""
    width, height = image.size
    bars = round(max(width, height) * rng.uniform(0.1, 0.3))
    size = (width + bars, height) if rng.random() < 0.5 else (width, height + bars)
    level = int(rng.choice((0, 114, 255)))
    framed = Image.new("RGB", size, (level, level, level))
    framed.paste(image, ((size[0] - width) // 2, (size[1] - height) // 2))
    return framed


def combine(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """All five at once."""
    for alteration in (crop, flip, resize, brighten, save_as_jpeg):
        image = alteration(image, rng)
    return image


ALTERATIONS: dict[str, Alteration] = {
    "crop": crop,
    "JPEG": save_as_jpeg,
    "brightness": brighten,
    "resize": resize,
    "flip": flip,
    "all five": combine,
    "turn": turn,
    "quarter turn": turn_by_quarter,
    "bars": letterbox,
}


def shoot_burst(image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, Image.Image]:
    """Two windows of 60 % of the image's sides that share 50 to 95 % of their area, each saved as a JPEG."""
    width, height = (round(0.6 * side) for side in image.size)
    overlap = rng.uniform(0.5, 0.95)
    along_x = rng.uniform(overlap, 1)
    shift = (round((1 - along_x) * width), round((1 - overlap / along_x) * height))
    left = int(rng.integers(0, image.size[0] - width - shift[0] + 1))
    top = int(rng.integers(0, image.size[1] - height - shift[1] + 1))
    if rng.random() < 0.5:
        first, second = (left, top), (left + shift[0], top + shift[1])
    else:
        first, second = (left + shift[0], top), (left, top + shift[1])
    windows = [image.crop((x, y, x + width, y + height)) for x, y in (first, second)]
    return save_as_jpeg(windows[0], rng), save_as_jpeg(windows[1], rng)
