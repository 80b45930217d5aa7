"""What the network looked at in the mistakes that the page shows."""

from __future__ import annotations

import time
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from threadpoolctl import threadpool_limits

from app.artifacts import open_artifact
from app.datasets.pictures import decode_item
from app.errors import ArtifactError, DatasetError
from app.evaluation.page.spec import Example, PageSpec
from app.evaluation.page.words import share
from app.images.decode import DecodedImage
from app.images.thumbnails import MEDIA_TYPE, encode_thumbnail
from app.inference.activation import ActivationMaps, has_maps
from app.inference.predictor import Predictor, estimate_bytes

PIXELS = 192
"""The longer side of a map, also of a smaller input."""
_SECONDS = 30.0
"""For all maps: a large network takes seconds for each image."""
_DIMMED = 0.3
"""How much light is left where the map is least."""
_HEIGHTS, _SIDES = ("upper", "middle", "lower"), ("left", "middle", "right")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Map:
    """An image as the network saw it, with the map over it. ``source``: a data URL.

    ``where``: at which part of the image the map is highest. ``inside``: how much of it lies within the line.
    """

    source: str
    width: int
    height: int
    where: str
    inside: str


@dataclass(frozen=True)
class Maps:
    """The map of each example, or None. ``places``: (rows, columns) of a map; None where none was made.

    ``missing``: why there are fewer maps than images, or None.
    """

    drawn: tuple[Map | None, ...]
    places: tuple[int, int] | None
    missing: str | None


def draw_maps(spec: PageSpec, examples: Sequence[Example]) -> Maps:
    """Of the class that was answered. A model that has no maps, or is gone, has none without a word."""
    nothing: tuple[Map | None, ...] = (None,) * len(examples)
    if spec.artifact is None or not examples:
        return Maps(nothing, None, None)
    try:
        # The two files that are read are checked then: the others would cost time for nothing.
        artifact = open_artifact(spec.artifact, verify=False, digest=spec.artifact_digest)
        if not has_maps(artifact):
            return Maps(nothing, None, None)
        # Beyond its limit the runtime would end the process, and the page with it.
        if estimate_bytes(artifact, 1) > spec.memory_bytes // 2:
            return Maps(nothing, None, "The model is too large to be asked for the page.")
        maps = ActivationMaps(Predictor(artifact, interpreters=1))
    except ArtifactError:
        return Maps(nothing, None, "The model's files are damaged.")
    with threadpool_limits(1):
        return _draw_all(spec, maps, examples)


def _draw_all(spec: PageSpec, maps: ActivationMaps, examples: Sequence[Example]) -> Maps:
    deadline = time.monotonic() + _SECONDS
    drawn: list[Map | None] = []
    missing = None
    for example in examples:
        if time.monotonic() > deadline:
            missing = f"Only the first {len(drawn)} were asked for: more would have taken too long."
            break
        drawn.append(_draw_one(spec, maps, example))
    drawn += [None] * (len(examples) - len(drawn))
    return Maps(tuple(drawn), maps.shape if any(drawn) else None, missing)


def _draw_one(spec: PageSpec, maps: ActivationMaps, example: Example) -> Map | None:
    """None for an image that cannot be read, of which its thumbnail's place says why."""
    predictor = maps.predictor
    if example.image is None or example.predicted not in predictor.labels:
        return None
    try:
        image = decode_item(spec.images, example.image, predictor.pixel_range, predictor.fit)
        found = maps.draw(image.pixels, predictor.labels.index(example.predicted))
    except (DatasetError, ArtifactError, MemoryError):
        return None
    return lay_over(image, found)


def lay_over(image: DecodedImage, found: Floats) -> Map | None:
    """The image with the places dimmed that the map says little of, and a line around those above its half.

    ``found``: (rows, columns), least to highest. None for a map that is the same everywhere.
    """
    low, high = float(found.min()), float(found.max())
    if not high > low:
        return None
    height, width = image.pixels.shape[:2]
    scale = PIXELS / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    pixels = np.asarray(Image.fromarray(image.pixels).resize(size, Image.Resampling.BILINEAR), np.float32)
    small = Image.fromarray((found - low) / (high - low))
    weights = np.asarray(small.resize(size, Image.Resampling.BICUBIC), np.float32).clip(0, 1)
    laid = pixels * (_DIMMED + (1 - _DIMMED) * weights[:, :, np.newaxis])
    is_inside = weights >= 0.5
    # White within and black without: one of them is seen on any image.
    laid[_border(is_inside)] = 255
    laid[_border(~is_inside)] = 0
    jpeg = encode_thumbnail(replace(image, pixels=laid.round().astype(np.uint8)))
    return Map(
        source=f"data:{MEDIA_TYPE};base64,{b64encode(jpeg).decode()}",
        width=size[0],
        height=size[1],
        where=_where(found),
        inside=share(float(is_inside.mean())),
    )


def _border(area: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The places of the area that are within two of what is outside of it, not of the image's edge."""
    padded = np.pad(area, 2, mode="edge")
    rows, columns = area.shape
    whole = area.copy()
    for down, right in ((0, 2), (4, 2), (2, 0), (2, 4), (1, 1), (1, 3), (3, 1), (3, 3)):
        whole &= padded[down : down + rows, right : right + columns]
    return area & ~whole


def _where(found: Floats) -> str:
    """The ninth of the image in which the map is highest."""
    rows, columns = found.shape
    row, column = divmod(int(found.argmax()), columns)
    name = _HEIGHTS[(6 * row + 3) // (2 * rows)], _SIDES[(6 * column + 3) // (2 * columns)]
    return "in the middle" if name == ("middle", "middle") else f"at the {name[0]} {name[1]}"
