"""Near-duplicates of a dataset, told in its own words: items, and the groups that a split keeps whole."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.datasets.examination.report import NearDuplicates, NearPair
from app.datasets.manifest import DatasetManifest, Item
from app.datasets.near_duplicates.backgrounds import take_off_background
from app.datasets.near_duplicates.groups import Pair, group_pairs
from app.datasets.near_duplicates.search import search_sketches
from app.datasets.near_duplicates.sketches import Sketches, SmallImage, sketch_images
from app.datasets.pictures import decode_item
from app.images.decode import PixelRange
from app.images.resize import Fit, Resize, rule_for

SIDE = 256
"""Pixels of the longer side: points are searched in an image no larger."""
_FEW = 8
"""Images: of fewer, nothing can be said about how their labels agree."""
_CLEARLY = 0.25
"""Of the way from chance to full agreement."""
_COVER_OF_OTHERS = 0.5
"""Of two images with different labels: what they agree on in less is mostly a stamp or a logo."""
_SHARES = {"sketches": (0.0, 0.5), "words": (0.5, 0.2), "hashes": (0.7, 0.02), "features": (0.72, 0.08)}
_VERIFYING = (0.8, 0.2)
"""Of the whole search: where a stage begins, and how long it takes."""

Progress = Callable[[float], None]


@dataclass(frozen=True)
class NearSearch:
    """``groups``: the ids of the items of each, copies too. ``thumbnails``: uint8 (items, 32, 32), grey;
    ``colours``: uint8 (items, 3), the mean red, green and blue.
    """

    groups: tuple[tuple[str, ...], ...]
    report: NearDuplicates
    thumbnails: NDArray[np.uint8]
    colours: NDArray[np.uint8]


def search_dataset(
    manifest: DatasetManifest,
    image_root: Path,
    vectors: NDArray[np.float16] | None,
    partial: Path,
    digest: str,
    progress: Progress,
) -> NearSearch:
    """Searches near-duplicates among the different images of a dataset.

    ``vectors``: float16 (items, dimensions), or None. ``partial``: a file for our own use; a later attempt
    with the same ``digest`` goes on with it. ``progress`` is called with the fraction done, and may raise to
    leave. Raises DatasetError for an image that cannot be read.
    """
    different = {item.sha256: position for position, item in enumerate(manifest.items)}
    positions = list(different.values())
    items = [manifest.items[position] for position in positions]

    def tell(stage: str, done: int, of: int) -> None:
        begin, length = _SHARES.get(stage, _VERIFYING)
        progress(begin + length * done / max(1, of))

    sketches = sketch_images(
        [_small(image_root, item, manifest.pixel_range) for item in items],
        partial,
        digest,
        lambda done: tell("sketches", done, len(items)),
    )
    found = search_sketches(sketches, None if vectors is None else vectors[positions], tell)
    row_of = {item.sha256: row for row, item in enumerate(items)}
    rows = [row_of[item.sha256] for item in manifest.items]
    thumbnails, colours = sketches["thumbnail"][rows], sketches["colour"][rows]
    copies = defaultdict(list)
    for item in manifest.items:
        copies[item.sha256].append(item.id)

    def name(groups: Sequence[Sequence[int]]) -> tuple[tuple[str, ...], ...]:
        return tuple(
            tuple(each for image in group for each in copies[items[image].sha256]) for group in groups
        )

    labels = [item.label for item in items]
    groups, backgrounds = divide_groups(found.groups, labels)
    kept = {image for group in groups for image in group}
    pairs = [pair for pair in found.pairs if pair.first in kept]
    for background in backgrounds:
        pairs += _search_in_front(sketches, np.array(background), tell)
    whole, pairs = leave_out_stamps(pairs, labels)
    report = NearDuplicates(
        pairs=_name_pairs(pairs, items),
        doubtful=_name_pairs(found.doubtful, items),
        same_background=name(backgrounds),
        left_out=found.left_out,
    )
    del sketches
    partial.unlink(missing_ok=True)
    return NearSearch(name(whole), report, thumbnails, colours)


def _search_in_front(
    sketches: Sketches, images: NDArray[np.intp], tell: Callable[[str, int, int], None]
) -> list[Pair]:
    """Pairs among ``images``, which have one background, by what is in front of it."""
    rest, enough = take_off_background(sketches, images, lambda done: tell("words", done, len(images)))
    found = search_sketches(rest, None, tell)
    numbers = enough.tolist()
    return [replace(pair, first=numbers[pair.first], second=numbers[pair.second]) for pair in found.pairs]


def leave_out_stamps(
    pairs: Sequence[Pair], labels: Sequence[str]
) -> tuple[tuple[tuple[int, ...], ...], list[Pair]]:
    """The groups of these pairs, and the pairs, but for those with different labels that agree on little.

    They are left out as late as this: all labels of a group tell whether it has only a background in common.
    """
    trusted = [
        pair for pair in pairs if labels[pair.first] == labels[pair.second] or pair.cover >= _COVER_OF_OTHERS
    ]
    return group_pairs(trusted).groups, trusted


def divide_groups(
    groups: Sequence[Sequence[int]], labels: Sequence[str]
) -> tuple[list[Sequence[int]], list[Sequence[int]]]:
    """The groups that show one thing, and those whose images have no more than a background in common.

    Images of one thing have one label, but for mistakes. Where the labels of a group agree hardly more often
    than those of any two images do, it is not the thing that is alike.
    """
    least = _agreement(labels)
    least += _CLEARLY * (1 - least)
    kept: list[Sequence[int]] = []
    backgrounds: list[Sequence[int]] = []
    for group in groups:
        agreement = _agreement([labels[image] for image in group])
        (backgrounds if len(group) >= _FEW and agreement < least else kept).append(group)
    return kept, backgrounds


def _agreement(labels: Sequence[str]) -> float:
    """How often two of these labels, drawn with replacement, are the same."""
    shares = np.array(list(Counter(labels).values()), np.float64) / max(1, len(labels))
    return float((shares**2).sum())


def _small(image_root: Path, item: Item, pixel_range: PixelRange | None) -> SmallImage:
    scale = min(1.0, SIDE / max(item.height, item.width))
    size = (max(1, round(item.height * scale)), max(1, round(item.width * scale)))
    fit = Fit(rule_for(Resize.STRETCH), size)  # to a size of the same shape
    return lambda: decode_item(image_root, item, pixel_range, fit).pixels


def _name_pairs(pairs: Sequence[Pair], items: Sequence[Item]) -> tuple[NearPair, ...]:
    return tuple(
        NearPair(
            first=items[pair.first].id,
            second=items[pair.second].id,
            reason=pair.reason,
            score=round(pair.score, 4),
        )
        for pair in pairs
    )
