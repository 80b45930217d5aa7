"""Greyscale images of 16 bits that hold 10, 12 or 14: which values of a dataset are black and white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.images.decode import FULL_RANGE, PixelRange, deep_grey_note

_CAMERA_BITS = (10, 12, 14)


@dataclass(frozen=True)
class Depth:
    """``pixel_range``: None where it is all 16 bits. ``largest``: the largest value of each such image."""

    pixel_range: PixelRange | None
    largest: tuple[int, ...]
    is_chosen: bool

    def correct(self, notes: tuple[str, ...]) -> tuple[str, ...]:
        """Notes of an image that was decoded before the range was known."""
        before, now = deep_grey_note(None), deep_grey_note(self.pixel_range)
        return tuple(now if note == before else note for note in notes)

    def describe(self) -> dict[str, Any] | None:
        """The finding, for the report; None without 16-bit greyscale."""
        if not self.largest:
            return None
        low, high = self.pixel_range or FULL_RANGE
        return {
            "pictures": len(self.largest),
            "largest_value": max(self.largest),
            "pixel_range": [low, high],
            "is_chosen": self.is_chosen,
            "pictures_beyond": sum(value > high for value in self.largest),
        }

    def advise(self) -> list[str]:
        """What somebody should know or act upon."""
        if not self.largest:
            return []
        top, (low, high) = max(self.largest), self.pixel_range or FULL_RANGE
        seen = f"The largest value of {len(self.largest):,} images with 16-bit greyscale is {top:,}"
        if beyond := sum(value > high for value in self.largest):
            return [f"{seen}: {beyond:,} have values beyond {low} to {high}, which are clipped (deep_grey)."]
        if self.is_chosen:
            return []
        if self.pixel_range is not None:
            return [
                f"{seen}: {low} to {high} is read as black to white. If that is wrong, import again with "
                "another pixel_range (deep_grey)."
            ]
        if top < 2 ** max(_CAMERA_BITS):
            return [
                f"{seen}, so they are dark or even black when 0 to 65535 is read as black to white. If the "
                "camera gives fewer bits, import again with its pixel_range, for example 0-4095 (deep_grey)."
            ]
        return []


def read_depth(largest: Sequence[int | None], chosen: PixelRange | None) -> Depth:
    """Decides once for all images; ``largest``: of each image, None where it is no 16-bit greyscale."""
    values = tuple(value for value in largest if value is not None)
    pixel_range = chosen or _see_range(values)
    return Depth(None if pixel_range == FULL_RANGE else pixel_range, values, chosen is not None)


def _see_range(values: Sequence[int]) -> PixelRange | None:
    top = max(values, default=0)
    for bits in _CAMERA_BITS:
        white = 2**bits - 1
        if white / 2 < top <= white:
            return 0, white
    return None
