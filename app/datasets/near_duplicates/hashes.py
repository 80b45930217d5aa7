"""A 256-bit hash of what an image looks like; that of the mirrored image follows from it.

After "PDQ": A. Davis and D. Rosen, "Open-sourcing photo- and video-matching technology" (Facebook, 2019),
https://github.com/facebook/ThreatExchange/blob/main/hashing/hashing.pdf: the 16 × 16 lowest frequencies of a
cosine transform of the image at 64 × 64, each as one bit. What differs: PDQ cuts at the median. Here the cut
is at zero, so that mirroring turns exactly the bits of the odd frequencies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dct

from app.datasets.near_duplicates.flips import FLIPS, flip_order, flip_signs

BITS = 256
_SIDE = 64
_WAVES = 16


def hash_image(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (32,): the hash of a grey image, packed."""
    # Not rounded to whole values, and no box that ends between two pixels: mirrored, others would be rounded.
    small = Image.fromarray(grey.astype(np.float32)).resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
    waves = dct(dct(np.asarray(small), axis=0)[1 : _WAVES + 1], axis=1)[:, 1 : _WAVES + 1]
    return np.packbits(waves > 0)


def unpack_hashes(packed: NDArray[np.uint8]) -> NDArray[np.int8]:
    """int8 (n, 256), each −1 or 1: the product of two rows is 256 − 2 × the bits that differ."""
    return (np.unpackbits(packed, axis=-1).astype(np.int8) << 1) - 1


def flips_of_hashes() -> NDArray[np.int8]:
    """int8 (8, 256): what a row is multiplied by when the image is mirrored, for each of FLIPS.

    Where a flip transposes, the row is first put into the order ``order_of_hashes``.
    """
    return flip_signs(_WAVES + 1, _WAVES + 1)[:, 1:, 1:].reshape(len(FLIPS), BITS)


def order_of_hashes() -> NDArray[np.intp]:
    """int (8, 256): from which bit each bit of the mirrored image's hash comes."""
    return flip_order(_WAVES).reshape(len(FLIPS), BITS)
