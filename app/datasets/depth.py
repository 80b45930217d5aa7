"""Images of 16 bits that hold 10, 12 or 14: which values of greyscale are black and white in a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.images.decode import FULL_RANGE, PixelRange, deep_grey_note

_CAMERA_BITS = (10, 12, 14)
_DARK = 2 ** max(_CAMERA_BITS)
"""An image is dark if none of its values is above, as long as this is so of all images,"""
_DARK_AMONG_BRIGHT = 2**13
"""or if none is above this, as long as it is so of most images: an eighth of 16 bits."""


@dataclass(frozen=True)
class Depth:
    """``pixel_range``: None where it is all 16 bits. ``largest``: the largest value of each such image.

    ``largest_colour``: the largest value that the high byte allows, of each image with 16-bit colour.
    """

    pixel_range: PixelRange | None
    largest: tuple[int, ...]
    is_chosen: bool
    largest_colour: tuple[int, ...] = ()

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
            "images": len(self.largest),
            "largest_value": max(self.largest),
            "pixel_range": [low, high],
            "is_chosen": self.is_chosen,
            "images_beyond": sum(value > high for value in self.largest),
        }

    def advise(self) -> list[str]:
        """What somebody should know or act upon."""
        return [*self._advise_on_grey(), *self._advise_on_colour()]

    def _advise_on_grey(self) -> list[str]:
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
        dark = _find_dark(self.largest)
        if not dark:
            return []
        if len(dark) < len(self.largest):
            seen += f", but {len(dark):,} of them stay within {max(dark):,}"
        white = next(2**bits - 1 for bits in _CAMERA_BITS if max(dark) < 2**bits)
        return [
            f"{seen}, so they are dark or even black when 0 to 65535 is read as black to white. If the "
            f"camera gives fewer bits, import again with its pixel_range, for example 0-{white} (deep_grey)."
        ]

    def _advise_on_colour(self) -> list[str]:
        dark = _find_dark(self.largest_colour)
        if not dark:
            return []
        return [
            f"{len(dark):,} of {len(self.largest_colour):,} images with 16 bits a channel have no value "
            f"above {max(dark):,} of 65,535, so they are dark or even black: of 16-bit colour, and of grey "
            "with transparency, only the high byte is read. Export them with 8 bits a channel or, if they "
            "are grey, as 16-bit greyscale without transparency."
        ]


def read_depth(
    largest: Sequence[int | None],
    chosen: PixelRange | None,
    largest_high_bytes: Sequence[int | None] = (),
) -> Depth:
    """Decides once for all images.

    ``largest``: of each image, None where it is no 16-bit greyscale. ``largest_high_bytes``: None where it
    has no 16-bit colour.
    """
    colours = tuple(256 * high + 255 for high in largest_high_bytes if high is not None)
    values = tuple(value for value in largest if value is not None)
    pixel_range = chosen or _see_range(values)
    return Depth(None if pixel_range == FULL_RANGE else pixel_range, values, chosen is not None, colours)


def _find_dark(values: Sequence[int]) -> list[int]:
    """Those that 16 bits leave nearly black, if it is all images or most: a few may be meant so."""
    if max(values, default=0) < _DARK:
        return list(values)
    dark = [value for value in values if value < _DARK_AMONG_BRIGHT]
    return dark if 2 * len(dark) > len(values) else []


def _see_range(values: Sequence[int]) -> PixelRange | None:
    top = max(values, default=0)
    for bits in _CAMERA_BITS:
        white = 2**bits - 1
        if white / 2 < top <= white:
            return 0, white
    return None
