"""Which images have feature vectors that are near each other, for this dataset."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh
from threadpoolctl import threadpool_limits

from app.datasets.near_duplicates.neighbours import UNKNOWN, Neighbours, nearest_of_rows

Vectors = NDArray[np.float16] | NDArray[np.float32]
"""(images, dimensions)"""
_COMPONENTS = 128
_BLOCK = 64


def nearest_by_features(features: Vectors, most: int, progress: Callable[[int], None]) -> Neighbours:
    """By cosine after half a whitening: directions in which all images of the dataset vary count less."""
    values = _project(features)
    found = []
    for start in range(0, len(values), _BLOCK):
        alike = values[start : start + _BLOCK] @ values.T
        found.append(nearest_of_rows(alike, np.array(UNKNOWN), np.arange(start, start + len(alike)), most))
        progress(min(start + _BLOCK, len(values)))
    return Neighbours.join(found)


def _project(features: Vectors) -> NDArray[np.float32]:
    """float32 (images, at most 128), of length 1."""
    number, dimensions = features.shape
    total, squares = np.zeros(dimensions), np.zeros((dimensions, dimensions))
    for start in range(0, number, 4096):
        block = _normalise(features[start : start + 4096])
        total += block.sum(0)
        squares += block.T @ block
    mean = total / max(number, 1)
    kept = min(_COMPONENTS, dimensions, max(number - 1, 1))
    # On a machine with other work, threads of BLAS wait for each other ten times as long as one computes.
    with threadpool_limits(1):
        variances, directions = eigh(
            squares / max(number, 1) - np.outer(mean, mean),
            subset_by_index=(dimensions - kept, dimensions - 1),
        )
    scaled = (directions / np.maximum(variances, 1e-9) ** 0.25).astype(np.float32)
    blocks = [
        _normalise((_normalise(features[start : start + 4096]) - mean.astype(np.float32)) @ scaled)
        for start in range(0, number, 4096)
    ]
    return np.concatenate([np.empty((0, kept), np.float32), *blocks])


def _normalise(values: Vectors) -> NDArray[np.float32]:
    exact = np.asarray(values, np.float32)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True).astype(np.float32)
    unit: NDArray[np.float32] = exact / np.maximum(lengths, np.float32(1e-9))
    return unit
