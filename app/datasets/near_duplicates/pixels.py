"""Whether two images without enough points are alike, pixel by pixel, after one is placed on the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from app.datasets.near_duplicates.flips import BACK, FLIPS
from app.datasets.near_duplicates.hashes import unpack_hashes
from app.datasets.near_duplicates.neighbours import UNKNOWN
from app.datasets.near_duplicates.sketches import THUMBNAIL, Sketches

Thumbnail = NDArray[np.uint8]
LEAST_CORRELATION = 0.88
_SIZES = range(27, THUMBNAIL + 1)
"""A copy that lost up to 15 % of its sides."""
_LEAST_CONTRAST = 1.5
"""Grey values: of fainter details, noise would be compared."""
_COARSE = 3.0
"""Pixels."""
_USUAL_NEIGHBOUR = 10
_SAMPLED = 200
_UNUSUAL = 0.99
_TIMES_CLOSER = 4


@dataclass(frozen=True)
class Likeness:
    """``correlation``: of the details, after what is coarser than a tenth of the image was taken off."""

    correlation: float
    flip: int


@dataclass(frozen=True)
class Places:
    """An image as what another one may be a part of, and as a part, for each size of a part.

    ``windows``: float32 (places, size x size), the details there; ``lengths``: float32 (places,).
    ``part``: float32 (size, size), the details of the image at that size, of length 1 or less.
    """

    windows: tuple[NDArray[np.float32], ...]
    lengths: tuple[NDArray[np.float32], ...]
    parts: tuple[NDArray[np.float32], ...]


def find_places(thumbnail: Thumbnail) -> Places:
    windows, lengths, parts = [], [], []
    whole, image = _details(thumbnail), Image.fromarray(thumbnail)
    for size in _SIZES:
        at = sliding_window_view(whole, (size, size)).reshape(-1, size * size)
        # What is fainter than the least contrast counts as if it had that.
        least = _LEAST_CONTRAST * size
        part = _details(np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)))
        windows.append(at)
        lengths.append(np.maximum(np.linalg.norm(at, axis=1), least))
        parts.append(part / max(float(np.linalg.norm(part)), least))
    return Places(tuple(windows), tuple(lengths), tuple(parts))


def compare_pixels(first: Places, second: Places, flip: int = UNKNOWN) -> Likeness:
    """How alike the first image and the second, mirrored by ``flip`` or in any way, are at best."""
    best = Likeness(0.0, max(flip, 0))
    for each in range(len(FLIPS)) if flip == UNKNOWN else (flip,):
        # To mirror the one is to mirror the other back, so windows stay as they are.
        correlation = max(_correlate(first, second, each), _correlate(second, first, int(BACK[each])))
        if correlation > best.correlation:
            best = Likeness(correlation, each)
    return best


def least_correlation(sketches: Sketches, compared: NDArray[np.intp]) -> float:
    """From which correlation on two images are copies; ``compared``: those that are compared by pixels.

    Where even tenth neighbours look alike, as handwritten digits do, a copy must be much more alike.
    """
    if len(compared) <= _USUAL_NEIGHBOUR:
        return LEAST_CORRELATION
    signs = unpack_hashes(sketches["hash"][compared]).astype(np.float32)
    sample = np.random.default_rng(0).permutation(len(compared))[:_SAMPLED]
    alike = signs[sample] @ signs.T
    neighbours = compared[np.argpartition(-alike, _USUAL_NEIGHBOUR, axis=1)[:, _USUAL_NEIGHBOUR]]
    thumbnails = sketches["thumbnail"]
    usual = [
        compare_pixels(find_places(thumbnails[image]), find_places(thumbnails[other]), 0).correlation
        for image, other in zip(compared[sample], neighbours, strict=True)
    ]
    return max(LEAST_CORRELATION, 1 - (1 - float(np.quantile(usual, _UNUSUAL))) / _TIMES_CLOSER)


def _correlate(whole: Places, part: Places, flip: int) -> float:
    """The highest correlation of ``part``, made smaller or not and mirrored, with any place in ``whole``."""
    step_y, step_x = -1 if flip & 2 else 1, -1 if flip & 1 else 1
    parts = [small.T if flip & 4 else small for small in part.parts]
    return max(
        float((windows @ small[::step_y, ::step_x].ravel() / lengths).max())
        for windows, lengths, small in zip(whole.windows, whole.lengths, parts, strict=True)
    )


def _details(values: Thumbnail) -> NDArray[np.float32]:
    grey = values.astype(np.float32)
    details: NDArray[np.float32] = grey - gaussian_filter(grey, _COARSE)
    return details
