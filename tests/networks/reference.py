"""Weights and images that torch and Keras can both make, and the logits that torch recorded for them.

Everything follows from a tensor's place in the state dict and its shape, through integer arithmetic and one
division, so that no random generator's version matters.
"""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

RECORDED = Path(__file__).with_name("reference_logits.json.gz")
PUBLISHED = Path(__file__).parent / "pretrained" / "published_logits.json"
NUM_CLASSES = 10

_MIX = np.uint32(0x45D9F3B)


def uniform(seed: int, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Float32 values between low and high, a hash of seed and position."""
    # Large networks are made in chunks that stay in the processor's cache.
    count = math.prod(shape)
    values = np.empty(count, np.float32)
    start = (seed * 0x9E3779B1 + 0x85EBCA6B) % 2**32
    for first in range(0, count, 1 << 16):
        x = np.arange(first, min(first + (1 << 16), count), dtype=np.uint32) + np.uint32(start)
        for _ in range(2):
            x = (x ^ (x >> np.uint32(16))) * _MIX
        x ^= x >> np.uint32(16)
        values[first : first + len(x)] = (x >> np.uint32(8)).astype(np.float32) / np.float32(2**24)
    return (np.float32(low) + values * np.float32(high - low)).reshape(shape)


def make_tensor(index: int, name: str, shape: tuple[int, ...], gain: float) -> np.ndarray:
    """The tensor at that place of a state dict, in torch's layout.

    ``gain`` is the middle of BatchNorm's scales: it decides whether signals grow with depth, until rounding
    errors decide the answer, or fade, until the image does not matter any more.
    """
    if len(shape) > 1:
        limit = math.sqrt(6 / math.prod(shape[1:]))
        return uniform(index, shape, -limit, limit)
    if name.endswith(("running_var", "weight")):
        middle = gain if name.endswith("weight") else 1.0
        return uniform(index, shape, 0.7 * middle, 1.3 * middle)
    return uniform(index, shape, -0.1, 0.1)


def make_state(tensors: list[tuple[str, tuple[int, ...]]], gain: float) -> dict[str, np.ndarray]:
    """A whole state dict from its names and shapes, in their order."""
    return {name: make_tensor(index, name, shape, gain) for index, (name, shape) in enumerate(tensors)}


def make_pictures(side: int, count: int = 2) -> np.ndarray:
    """Normalised images (count, side, side, 3): large squares, whose averages differ, under fine noise."""
    squares = uniform(side + 1, (count, 5, 5, 3), -1.5, 1.5)
    for axis in (1, 2):
        squares = squares.repeat(-(-side // 5), axis).take(range(side), axis)
    pictures: np.ndarray = squares + uniform(side, (count, side, side, 3), -1.0, 1.0)
    return pictures


def load_recorded() -> dict[str, dict[str, Any]]:
    """For each network its reference's name, the tensors of its state dict, and logits by image side."""
    recorded: dict[str, dict[str, Any]] = json.loads(gzip.decompress(RECORDED.read_bytes()))
    for entry in recorded.values():
        entry["tensors"] = [(name, tuple(shape)) for name, shape in entry["tensors"]]
        entry["logits"] = {int(side): np.float32(values) for side, values in entry["logits"].items()}
    return recorded
