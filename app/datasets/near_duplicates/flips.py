"""The four ways to mirror an image. In a cosine transform each turns signs and nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FLIPS = ((False, False), (True, False), (False, True), (True, True))
"""Mirrored along x, along y. A flip is its number in this list; two in turn are ``first ^ second``."""


def flip_signs(rows: int, columns: int) -> NDArray[np.int8]:
    """int8 (4, rows, columns): what each coefficient is multiplied by, one block for each of FLIPS."""
    row = np.where(np.arange(rows) % 2, -1, 1)[:, None]
    column = np.where(np.arange(columns) % 2, -1, 1)[None, :]
    signs = [np.broadcast_to((column if x else 1) * (row if y else 1), (rows, columns)) for x, y in FLIPS]
    return np.stack(signs).astype(np.int8)
