"""Made-up images that any Loupe can make again, to ask a model about where its own images are not."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

PROBES = "shake-128-1"
"""The name of what ``make_probes`` makes. It never changes; other images get another name."""
_CELLS = (1, 2, 3, 5, 8, 16, 32, 64)
"""Of each image along a side: from one colour to noise."""


def make_probes(image_size: tuple[int, int]) -> NDArray[np.uint8]:
    """Images of (height, width) pixels, uint8 (n, height, width, 3), the same on every machine.

    Image ``i`` is a square of coloured cells, whose bytes are SHAKE-128 of ``loupe probe i``, stretched to
    the size without smoothing. A generator of random numbers would not promise the same bytes for ever.
    """
    height, width = image_size
    images = np.empty((len(_CELLS), height, width, 3), np.uint8)
    for index, cells in enumerate(_CELLS):
        data = hashlib.shake_128(f"loupe probe {index}".encode()).digest(cells * cells * 3)
        square = np.frombuffer(data, np.uint8).reshape(cells, cells, 3)
        rows, columns = np.arange(height) * cells // height, np.arange(width) * cells // width
        images[index] = square[rows[:, np.newaxis], columns]
    return images
