"""The rules by which an image becomes a network's input. A rule has a name and a version, kept with a model.

Import, training, evaluation and predict use the rule of the model, so that its pixels are the same
everywhere. A rule never changes; a better one gets a new version beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import ceil

from PIL import Image, ImageFile

from app.errors import ArtifactError

Size = tuple[int, int]
"""(height, width)"""
_GREY = 128
_JPEG_SCALES = (8, 4, 2)
_MOST_RESIZED_AT_ONCE = 2.0
"""Beyond this ratio Pillow averages whole blocks first: much faster, and within one grey level."""


class Resize(StrEnum):
    """What happens to an image whose shape is not the input's."""

    STRETCH = "stretch"
    CROP = "crop"
    LETTERBOX = "letterbox"


@dataclass(frozen=True)
class ResizeRule:
    """``is_reduced``: JPEG is decoded at the half, quarter or eighth that is still large enough, and the
    image is turned upright after it is resized. Version 1 decodes in full and turns first.
    """

    name: str
    resize: Resize
    is_reduced: bool


_RULES = {
    rule.name: rule
    for rule in (
        ResizeRule("pillow-bilinear-stretch-1", Resize.STRETCH, is_reduced=False),
        *(ResizeRule(f"pillow-bilinear-{resize}-2", resize, is_reduced=True) for resize in Resize),
    )
}


FIRST_RULE = _RULES["pillow-bilinear-stretch-1"]


def get_rule(name: str) -> ResizeRule:
    """The rule of a model. Raises ArtifactError for one that this version does not know."""
    try:
        return _RULES[name]
    except KeyError:
        raise ArtifactError(
            f"The model was trained on images resized by {name!r}; this Loupe resizes by "
            f"{', '.join(map(repr, _RULES))}.",
            hint="Use the version of Loupe that made the model, or train it again with this one.",
        ) from None


def rule_for(resize: Resize | str) -> ResizeRule:
    """The newest rule that resizes in this way."""
    return _RULES[f"pillow-bilinear-{Resize(resize)}-2"]


@dataclass(frozen=True)
class Fit:
    """A rule and the size, (height, width) in pixels, that it makes of every image."""

    rule: ResizeRule
    size: Size

    def reduce(self, file: ImageFile.ImageFile, *, is_turned: bool) -> None:
        """Makes the file's decoder skip what the size does not need, where its format can do so."""
        if self.rule.is_reduced:
            file.draft(None, self._wanted(file, is_turned))

    def estimate_reduced(self, file: ImageFile.ImageFile) -> int:
        """About how many pixels a format that can be reduced is decoded to. The file stays as it is."""
        pixels = file.width * file.height
        if not self.rule.is_reduced:
            return pixels
        width, height = self._wanted(file, is_turned=False)
        ratio = min(file.width // width, file.height // height)
        return pixels // next((scale for scale in _JPEG_SCALES if ratio >= scale), 1) ** 2

    def apply(self, image: Image.Image, *, turn: Image.Transpose | None, is_turned: bool) -> Image.Image:
        """The image at ``size``, upright. ``turn`` turns it upright; None: nothing to do, or done already.

        ``is_turned``: ``turn`` exchanges width and height.
        """
        if not self.rule.is_reduced:
            height, width = self.size
            upright = image if turn is None else image.transpose(turn)
            return upright.resize((width, height), Image.Resampling.BILINEAR)
        height, width = self._stored(is_turned)
        fitted = _WAYS[self.rule.resize](image, width, height)
        return fitted if turn is None else fitted.transpose(turn)

    def _stored(self, is_turned: bool) -> Size:
        """The size before the image is turned upright."""
        height, width = self.size
        return (width, height) if is_turned else (height, width)

    def _wanted(self, file: ImageFile.ImageFile, is_turned: bool) -> tuple[int, int]:
        """The least width and height to decode to, in pixels."""
        height, width = self._stored(is_turned)
        if self.rule.resize == Resize.STRETCH:
            return (width, height)
        pick = min if self.rule.resize == Resize.LETTERBOX else max
        scale = pick(width / file.width, height / file.height)
        return (max(1, ceil(file.width * scale)), max(1, ceil(file.height * scale)))


def _stretch(image: Image.Image, width: int, height: int) -> Image.Image:
    return _resize(image, width, height)


def _crop(image: Image.Image, width: int, height: int) -> Image.Image:
    """The largest part of the input's shape, from the middle."""
    scale = max(width / image.width, height / image.height)
    left, top = (image.width - width / scale) / 2, (image.height - height / scale) / 2
    box = (max(0.0, left), max(0.0, top), min(image.width, image.width - left), image.height - top)
    return _resize(image, width, height, (*box[:3], min(float(image.height), box[3])))


def _letterbox(image: Image.Image, width: int, height: int) -> Image.Image:
    """The whole image in its own shape, in the middle of grey."""
    scale = min(width / image.width, height / image.height)
    inner = (
        min(width, max(1, round(image.width * scale))),
        min(height, max(1, round(image.height * scale))),
    )
    grey = _GREY if image.mode == "L" else (_GREY,) * 3
    canvas = Image.new(image.mode, (width, height), grey)
    canvas.paste(_resize(image, *inner), ((width - inner[0]) // 2, (height - inner[1]) // 2))
    return canvas


def _resize(
    image: Image.Image, width: int, height: int, box: tuple[float, float, float, float] | None = None
) -> Image.Image:
    return image.resize(
        (width, height), Image.Resampling.BILINEAR, box=box, reducing_gap=_MOST_RESIZED_AT_ONCE
    )


_WAYS: dict[Resize, Callable[[Image.Image, int, int], Image.Image]] = {
    Resize.STRETCH: _stretch,
    Resize.CROP: _crop,
    Resize.LETTERBOX: _letterbox,
}
