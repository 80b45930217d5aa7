"""How well near-duplicates are found: ``python -m benchmarks.near_duplicates [FOLDER …]``.

FOLDER holds images, in folders or not; without one, windows of scikit-learn's two sample photos are taken.
Altered copies of some of them are made (``benchmarks/altered_copies.py``) and put among all. Recall: of the
copies, those that are paired with their image. Precision: of the pairs found, those that are planted, or that
the images have without copies; the least sure of the latter are printed too, to be looked at by eye.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_images

from app.datasets.near_duplicates.flips import FLIPS
from app.datasets.near_duplicates.search import NearDuplicates, search_sketches
from app.datasets.near_duplicates.sketches import Sketch, sketch, sketch_images
from app.features.extractor import Extractor
from app.features.making import require_extractor
from benchmarks.altered_copies import ALTERATIONS, shoot_burst

GREY_SIDE = 256
BURST = "burst"
_EXTENSIONS = {".jpg", ".jpeg", ".png", ".bmp", ".webp"}
_WINDOW = 160
_MIRRORED = frozenset(flip for flip, turns in enumerate(FLIPS) if sum(turns) % 2)
"""The other flips turn an image by a half or a quarter."""


@dataclass(frozen=True)
class Known:
    """An image as the search sees it. ``source``: the number of the image that it was made from."""

    grey: NDArray[np.uint8]
    features: NDArray[np.float32] | None
    source: int


def main() -> None:
    given = _parse_arguments()
    console = Console(width=130)
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        extractor = None
        if not given.no_features:
            extractor = require_extractor(root / "extractor", root / "weights", root / "made", lambda: None)
        for name, images in _read(given.folders):
            bench = _Bench(images, extractor, root / "partial", given.seed)
            clean = bench.search(bench.originals)
            console.print(_describe_clean(name, clean, images))
            table = Table(
                "Copies", "number", "recall", "precision", "others", "verified", "core-s", title=name
            )
            for kind in given.kinds:
                table.add_row(*bench.measure(kind, given.copies, clean))
            console.print(table)
            if given.scale:
                console.print(_time_many(bench.originals, given.scale))


class _Bench:
    """The images of one set, and what is made of them."""

    def __init__(
        self, images: Sequence[tuple[str, Image.Image]], extractor: Extractor | None, partial: Path, seed: int
    ) -> None:
        self._images, self._extractor, self._partial = images, extractor, partial
        self._chance = np.random.default_rng(seed)
        self.originals = [self._know(image, number) for number, (_, image) in enumerate(images)]
        self.core_seconds = 0.0

    def search(self, known: Sequence[Known]) -> NearDuplicates:
        self._partial.unlink(missing_ok=True)
        features = None
        if self._extractor is not None:
            features = np.array([each.features for each in known], np.float16)
        greys = [lambda grey=each.grey: grey for each in known]
        began = time.process_time()
        sketches = sketch_images(greys, self._partial, str(len(known)), lambda _: None)
        found = search_sketches(sketches, features, lambda *_: None)
        self.core_seconds = time.process_time() - began
        return found

    def measure(self, kind: str, copies: int, clean: NearDuplicates) -> tuple[str, ...]:
        """A row of the table: of copies of this kind."""
        chosen = self._chance.permutation(len(self._images))[:copies]
        if kind == BURST:
            shots = [
                shoot_burst(self._images[number][1], self._chance) for number in range(len(self._images))
            ]
            known = [self._know(shot, number) for number, (shot, _) in enumerate(shots)]
            made = [self._know(shots[number][1], int(number)) for number in chosen]
        else:
            known = list(self.originals)
            made = [
                self._know(ALTERATIONS[kind](self._images[number][1], self._chance), int(number))
                for number in chosen
            ]
        everything = known + made
        found = self.search(everything)
        planted = {(each.source, number) for number, each in enumerate(made, start=len(known))}
        home = {image: group for group, images in enumerate(clean.groups) for image in images}
        hits = {(pair.first, pair.second) for pair in found.pairs} & planted
        others = 0
        for pair in found.pairs:
            one, other = everything[pair.first].source, everything[pair.second].source
            others += one != other and home.get(one, -1) != home.get(other, -2)
        precision = 1 - others / max(len(found.pairs), 1)
        return (
            kind,
            str(len(made)),
            f"{len(hits) / len(made):.3f}",
            f"{precision:.3f}",
            str(others),
            f"{found.verified:,}",
            f"{self.core_seconds:.1f}",
        )

    def _know(self, image: Image.Image, source: int) -> Known:
        grey = image.convert("L")
        grey.thumbnail((GREY_SIDE, GREY_SIDE), Image.Resampling.BILINEAR)
        features = None
        if self._extractor is not None:
            height, width = self._extractor.note.image_size
            fitted = image.resize((width, height), Image.Resampling.BILINEAR)
            features = self._extractor.embed(np.asarray(fitted))
        return Known(np.asarray(grey), features, source)


def _describe_clean(name: str, clean: NearDuplicates, images: Sequence[tuple[str, Image.Image]]) -> str:
    surest_last = sorted(clean.pairs, key=lambda pair: pair.score)
    lines = [
        f"{name}: {clean.images:,} images without copies have {len(clean.pairs):,} pairs in "
        f"{len(clean.groups)} groups, {len(clean.doubtful)} doubtful; {clean.verified:,} verified, "
        f"{clean.with_few_points:,} compared pixel by pixel; mirrored are "
        f"{sum(pair.flip in _MIRRORED for pair in clean.pairs)}, of wrong pairs it would be half; turned are "
        f"{sum(pair.flip != 0 and pair.flip not in _MIRRORED for pair in clean.pairs)}",
    ]
    lines += [
        f"  {pair.score:.2f} {pair.reason} {pair.evidence:.4g} "
        f"{images[pair.first][0]} {images[pair.second][0]}"
        for pair in surest_last[:5]
    ]
    return "\n".join(lines)


def _time_many(originals: Sequence[Known], number: int) -> str:
    """The search among made-up sketches: patches of the images, altered and in other places."""
    began = time.process_time()
    real = np.concatenate([sketch(each.grey) for each in originals])
    sketching = (time.process_time() - began) / len(real)
    chance = np.random.default_rng(0)
    one, other = chance.integers(len(real), size=(2, number))
    many = np.empty(number, Sketch)
    for start in range(0, number, 1000):
        rows = slice(start, start + 1000)
        many[rows] = real[one[rows]]
        points = many["points"][rows]
        points["waves"] += chance.integers(-25, 26, points["waves"].shape, np.int8)
        for axis in ("x", "y"):
            points[axis] = chance.permuted(points[axis].astype(np.float32), axis=1)
    many["hash"] = chance.integers(256, size=many["hash"].shape)
    features = None
    if originals[0].features is not None:
        known = np.array([each.features for each in originals], np.float32)
        features = np.empty((number, known.shape[1]), np.float16)
        for start in range(0, number, 1000):
            rows = slice(start, start + 1000)
            noise = chance.normal(0, 0.1, features[rows].shape)
            features[rows] = (known[one[rows]] + known[other[rows]]) / 2 + noise
    ends: dict[str, float] = {}
    began, cores = time.perf_counter(), time.process_time()

    def note(stage: str, _done: int, _whole: int) -> None:
        ends[stage] = time.perf_counter() - began

    found = search_sketches(many, features, note)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    stages = ", ".join(f"{stage} until {seconds:.0f} s" for stage, seconds in ends.items())
    return (
        f"{number:,} made-up images: sketches {1000 * sketching:.1f} core-ms an image; the search "
        f"{time.process_time() - cores:.0f} core-s, {time.perf_counter() - began:.0f} s ({stages}); "
        f"{found.verified:,} pairs verified, {found.left_out:,} left out; "
        f"peak of the process {peak:,.0f} MB, {many.nbytes / 1e6:,.0f} MB of it sketches"
    )


def _read(folders: Sequence[Path]) -> list[tuple[str, list[tuple[str, Image.Image]]]]:
    if not folders:
        return [("windows", _cut_windows())]
    sets = []
    for folder in folders:
        images = []
        for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() in _EXTENSIONS):
            try:
                images.append((path.name, Image.open(path).convert("RGB")))
            except OSError as error:
                print(f"{path} is left out: {error}")
        sets.append((folder.name, images))
    return sets


def _cut_windows() -> list[tuple[str, Image.Image]]:
    photos = [Image.fromarray(pixels) for pixels in load_sample_images().images]
    return [
        (f"{number} at {x}, {y}", photo.crop((x, y, x + _WINDOW, y + _WINDOW)))
        for number, photo in enumerate(photos)
        for y in range(0, photo.height - _WINDOW + 1, _WINDOW)
        for x in range(0, photo.width - _WINDOW + 1, _WINDOW)
    ]


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.near_duplicates", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=Path)
    parser.add_argument("--copies", type=int, default=200, help="of each kind (default: 200)")
    kinds = (*ALTERATIONS, BURST)
    parser.add_argument("--kinds", nargs="+", choices=kinds, default=kinds, help="of copies (default: all)")
    parser.add_argument("--scale", type=int, default=0, help="also time the search among so many images")
    parser.add_argument("--no-features", action="store_true", help="search by points and hashes alone")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
