"""Which images a step sees and how they are varied: pure functions of (seed, epoch), never stored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

Indices = np.ndarray[Any, np.dtype[np.int64]]


def count_steps(items: int, batch_size: int) -> int:
    """Steps of one epoch over all items, none left out."""
    return math.ceil(items / batch_size)


def epoch_batches(
    items: int, batch_size: int, *, seed: int, epoch: int, shuffle_buffer: int | None = None
) -> Sequence[Indices]:
    """The batches of one epoch, as positions 0 to items - 1; every position occurs once.

    Batches differ in size by one at most and none exceeds ``batch_size``: a last batch of a few images
    would take a full step on their noise, and BatchNorm would take its statistics from them.
    """
    order = epoch_order(items, seed=seed, epoch=epoch, shuffle_buffer=shuffle_buffer)
    return np.array_split(order, count_steps(items, batch_size))


def epoch_order(items: int, *, seed: int, epoch: int, shuffle_buffer: int | None = None) -> Indices:
    """A permutation of 0 to items - 1. With a buffer smaller than that, what a shuffle buffer would emit.

    The buffer is filled from the fixed order; each draw takes a random place and the next item refills it,
    as ``tf.data.Dataset.shuffle`` does.
    """
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch])))
    if shuffle_buffer is None or shuffle_buffer >= items:
        return random.permutation(items)
    buffer = list(range(shuffle_buffer))
    order = np.empty(items, np.int64)
    places = random.integers(shuffle_buffer, size=items - shuffle_buffer)
    for position, place in enumerate(places.tolist()):
        order[position] = buffer[place]
        buffer[place] = position + shuffle_buffer
    order[items - shuffle_buffer :] = random.permutation(np.array(buffer, np.int64))
    return order


def augmentation_draws(items: int, draws: int, *, seed: int, epoch: int) -> np.ndarray[Any, Any]:
    """float32 (items, draws), uniform in [0, 1): row i varies image i in this epoch, whatever its batch."""
    sequence = np.random.SeedSequence([seed, epoch], spawn_key=(1,))
    return np.random.Generator(np.random.PCG64(sequence)).random((items, draws), dtype=np.float32)
