"""Temperature scaling: one number that makes a network's probabilities as sure as it is right."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def apply_temperature(probabilities: Floats, temperature: float) -> NDArray[np.float64]:
    """softmax(logits / temperature) from softmax(logits), float64 (…, classes): no logits are needed.

    The most probable class stays the same, and 1 changes no bit. Guo, Pleiss, Sun, Weinberger: On Calibration
    of Modern Neural Networks, ICML 2017, https://arxiv.org/abs/1706.04599
    """
    exact = np.asarray(probabilities, np.float64)
    if temperature == 1:
        return exact
    # Relative to the largest, so that a high power of small probabilities is not 0 / 0.
    powers = (exact / exact.max(axis=-1, keepdims=True)) ** (1 / temperature)
    shares: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def remove_temperature(probabilities: Floats, temperature: float) -> NDArray[np.float64]:
    """What ``apply_temperature`` was given, but for rounding."""
    return apply_temperature(probabilities, 1 / temperature)
