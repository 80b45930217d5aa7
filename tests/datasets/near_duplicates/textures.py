"""Images to search among: noise textures that are all alike, and windows of scikit-learn's sample photos."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image

from app.datasets.near_duplicates.flips import FLIPS

Grey = NDArray[np.uint8]


@cache
def make_texture(seed: int, side: int = 180) -> Grey:
    """Grains of two sizes; every seed looks like the same material."""
    noise = np.random.default_rng(seed).normal(size=(side, side))
    values = gaussian_filter(noise, 1.5) * 3 + gaussian_filter(noise, 5) * 6
    grey: Grey = np.clip(128 + 20 * values / values.std(), 0, 255).astype(np.uint8)
    return grey


@cache
def cut_photos(side: int = 200, step: int = 200) -> list[Grey]:
    photos = [
        np.asarray(Image.fromarray(load_sample_image(name)).convert("L"))
        for name in ("china.jpg", "flower.jpg")
    ]
    return [
        photo[y : y + side, x : x + side]
        for photo in photos
        for y in range(0, photo.shape[0] - side + 1, step)
        for x in range(0, photo.shape[1] - side + 1, step)
    ]


def flip_image(grey: Grey, flip: int) -> Grey:
    """``flip``: a place of FLIPS."""
    is_transposed, along_x, along_y = FLIPS[flip]
    turned = grey.T if is_transposed else grey
    return np.ascontiguousarray(turned[:: -1 if along_y else 1, :: -1 if along_x else 1])


def stretch(grey: Grey, width: int, height: int) -> Grey:
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.LANCZOS))
