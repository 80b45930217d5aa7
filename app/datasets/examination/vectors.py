"""The feature vectors of a dataset: each image is looked at once, by a pretrained network.

They come beside the manifest, in the dataset's folder, and are made anew where they are missing or damaged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.datasets.concurrency import ordered_map
from app.datasets.manifest import DatasetManifest, Item
from app.datasets.pictures import decode_item
from app.errors import FeaturesUnavailableError
from app.features.extractor import Extractor
from app.features.partial import PartialVectors
from app.features.vectors import digest_images, load_vectors, read_header, write_vectors
from app.host.machine import count_cores

Progress = Callable[[int, int], None]
Vectors = NDArray[np.float16]


def compute_vectors(
    manifest: DatasetManifest,
    image_root: Path,
    out: Path,
    extractor: Extractor,
    progress: Progress,
    *,
    partial: Path,
    known: Mapping[str, Vectors] | None = None,
) -> Vectors:
    """Writes the feature vectors of a dataset into the folder ``out``; returns them, in the manifest's order.

    ``partial``: a file for our own use; what it holds of an earlier attempt is not computed again.
    ``known``: vectors by the SHA-256 of an image's bytes, of this extractor and the dataset's pixel range.
    ``progress`` is called with the images done and their number. Raises DatasetError.
    """
    note, images = extractor.note, images_of(manifest)
    digest = digest_images([*images, note.sha256])
    before = PartialVectors(partial, digest, note.dimensions)
    try:
        vectors = _compute(manifest, image_root, extractor, progress, before, known or {})
        write_vectors(out, images, vectors, extractor=note.sha256, network=note.network)
        before.finish()
    finally:
        before.close()
    return vectors


def _compute(
    manifest: DatasetManifest,
    image_root: Path,
    extractor: Extractor,
    progress: Progress,
    before: PartialVectors,
    known: Mapping[str, Vectors],
) -> Vectors:
    """float16 (items, dimensions) in the manifest's order; copies are looked at once."""
    different = list({item.sha256: item for item in manifest.items}.values())
    vectors = np.empty((len(different), extractor.note.dimensions), np.float16)
    done = min(len(before.rows), len(different))
    vectors[:done] = before.rows[:done]
    threads = count_cores()  # each takes an interpreter, 20 MB

    def embed(item: Item) -> Vectors:
        if (vector := known.get(item.sha256)) is not None:
            return vector
        image = decode_item(image_root, item, manifest.pixel_range, extractor.fit)
        return extractor.embed(image.pixels).astype(np.float16)

    with ThreadPoolExecutor(threads) as pool:
        found = ordered_map(pool, embed, different[done:], ahead=4 * threads)
        for row, vector in enumerate(found, start=done):
            vectors[row] = vector
            before.append(vector)
            progress(row + 1, len(different))
    rows = {item.sha256: row for row, item in enumerate(different)}
    return vectors[[rows[item.sha256] for item in manifest.items]]


def load_features(folder: Path, manifest: DatasetManifest) -> Vectors:
    """The feature vectors of a dataset, float16 (items, dimensions), in the manifest's order.

    Raises FeaturesUnavailableError.
    """
    return load_vectors(folder, images_of(manifest))


def known_vectors(
    folders: Sequence[Path], manifests: Sequence[DatasetManifest], extractor: Extractor
) -> dict[str, Vectors]:
    """The vectors that datasets have by this extractor, by the SHA-256 of an image's bytes."""
    known: dict[str, Vectors] = {}
    for folder, manifest in zip(folders, manifests, strict=True):
        header = read_header(folder)
        if header is None or header.extractor != extractor.note.sha256:
            continue
        try:
            vectors = load_features(folder, manifest)
        except FeaturesUnavailableError:
            continue
        known.update((item.sha256, row) for item, row in zip(manifest.items, vectors, strict=True))
    return known


def images_of(manifest: DatasetManifest) -> list[str]:
    """What a feature file is bound to: the images, and how their 16-bit greyscale is read."""
    values = [str(manifest.pixel_range)] if manifest.pixel_range is not None else []
    return [*(item.sha256 for item in manifest.items), *values]
