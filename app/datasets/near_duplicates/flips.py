"""The eight ways to mirror an image and turn it by quarters. A cosine transform is reordered, and signs turn.

A flip is its number in FLIPS: the image is transposed if it has 4, then mirrored along x if it has 1, and
along y if it has 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FLIPS = tuple((bool(flip & 4), bool(flip & 1), bool(flip & 2)) for flip in range(8))
"""Transposed, mirrored along x, mirrored along y."""


def flip_signs(rows: int, columns: int) -> NDArray[np.int8]:
    """int8 (8, rows, columns): what each coefficient is multiplied by, after it was transposed or not."""
    row = np.where(np.arange(rows) % 2, -1, 1)[:, None]
    column = np.where(np.arange(columns) % 2, -1, 1)[None, :]
    signs = [np.broadcast_to((column if x else 1) * (row if y else 1), (rows, columns)) for _, x, y in FLIPS]
    return np.stack(signs).astype(np.int8)


def flip_order(side: int) -> NDArray[np.intp]:
    """int (8, side, side): from which place of a flattened square of coefficients each one comes."""
    places = np.arange(side**2).reshape(side, side)
    return np.stack([places.T if is_transposed else places for is_transposed, _, _ in FLIPS])


def _then(first: int, second: int) -> int:
    mirrors = first & 3
    if second & 4:
        mirrors = (mirrors & 1) << 1 | mirrors >> 1
    return (second & 3) ^ mirrors | ((first ^ second) & 4)


IN_TURN = np.array([[_then(first, second) for second in range(8)] for first in range(8)], np.int8)
"""int8 (8, 8): the flip that ``first`` and then ``second`` are."""
BACK = np.array([IN_TURN[flip].tolist().index(0) for flip in range(8)], np.int8)
"""int8 (8,): the flip that takes each one back."""
