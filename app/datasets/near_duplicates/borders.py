"""Bars of one colour around an image, as letterboxing and screenshots leave them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]
_PLAIN = 12
"""Grey values between the darkest and the lightest pixel of a bar: what saving as JPEG leaves of a colour."""
_EDGE = 3
"""Pixels in which a bar becomes image, after it was made smaller."""
_CLEAR = 16
"""Grey values that a pixel beside a bar is off from it."""
_LEAST_BESIDE = 0.5
"""Of the pixels beside a bar. An object in front of a plain background touches it with fewer: no bar ends."""
_MOST = 0.4
"""Of a side, for both bars together or one."""


def cut_bars(grey: Grey) -> Grey:
    """The image without bars, uint8 (height, width): a view, or ``grey`` itself where there is none."""
    inside = grey
    for _ in range(2):  # A bar above may hide that those at the sides end beside the image.
        top, bottom = _find_bars(inside)
        inside = inside[top : len(inside) - bottom]
        left, right = _find_bars(inside.T)
        inside = inside[:, left : inside.shape[1] - right]
    return inside


def _find_bars(grey: Grey) -> tuple[int, int]:
    """How many rows at the top and at the bottom are bars."""
    most = int(_MOST * len(grey))
    is_plain = np.ptp(grey, axis=1) <= _PLAIN
    bars = (_count(grey, is_plain), _count(grey[::-1], is_plain[::-1]))
    if sum(bars) <= most:
        return bars
    return (0, 0)


def _count(grey: Grey, is_plain: NDArray[np.bool_]) -> int:
    """How many rows from the first on are a bar, with those in which it becomes image."""
    colour = int(np.median(grey[0]))
    levels = np.median(grey, axis=1)
    belongs = is_plain & (np.abs(levels - colour) <= _PLAIN)
    thick = len(grey) if belongs.all() else int(np.argmin(belongs))
    if thick == 0 or thick + _EDGE >= len(grey):
        return 0
    beside = np.abs(grey[thick + _EDGE - 1].astype(np.int16) - colour) >= _CLEAR
    if beside.mean() < _LEAST_BESIDE:
        return 0
    # Rows in which bar and image are mixed are neither.
    mixed = np.abs(grey[thick : thick + _EDGE].astype(np.int16) - colour) >= _CLEAR
    return thick + int(np.argmax(mixed.mean(axis=1) >= _LEAST_BESIDE))
