"""Images that look like another: by the feature vectors that an examination left."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.context import AppContext
from app.datasets.examination.vectors import Vectors, load_features
from app.datasets.manifest import DatasetManifest, load_manifest
from app.errors import FeaturesUnavailableError
from app.features.extractor import Extractor
from app.features.files import HEADER, MODEL, NOTE, VECTORS
from app.features.similarity import cosines
from app.features.vectors import map_vectors, read_header
from app.images.decode import DecodedImage
from app.inference.turns import Reading, Turns
from app.schemas import dataset as schemas
from app.schemas.prediction import PredictionImage
from app.services.dataset_items import Ranking, describe_item
from app.services.dataset_manifests import position_of, read_manifest
from app.services.item_selections import open_catalogue
from app.storage.extractor import download_examination

_ROWS_IN_A_TURN = 16_384
"""30 milliseconds: predictions have their turns in between."""

_KEPT = 4
"""Rankings, for the next pages of who asked for them: 8 MB of a million images."""

Stamp = tuple[tuple[int, int, int], ...]
_RANKINGS: dict[tuple[Path, Stamp, int], Ranking] = {}
"""Only one thread, that of the event loop, changes them."""


@dataclass(frozen=True)
class _Looked:
    """What an uploaded image is, and its feature vector."""

    image: DecodedImage
    vector: NDArray[np.float32]
    sha256: str


async def rank_by_item(context: AppContext, turns: Turns, dataset_id: str, item_id: str) -> Ranking:
    """The other images of a dataset, the most alike to one of them first.

    Raises NotFoundError, and FeaturesUnavailableError for a dataset that is not examined.
    """
    folder = context.storage.dataset(dataset_id)
    async with turns.lane():
        position = await asyncio.to_thread(position_of, context, dataset_id, item_id)
        _, vectors = await asyncio.to_thread(_open_vectors, context, dataset_id)
        key = (folder, _stamp(folder / VECTORS, folder / HEADER), position)
        ranking = _RANKINGS.pop(key, None)
        if ranking is None:
            found = await _compare(turns, vectors, vectors[position].astype(np.float32))
            ranking = Ranking(found, without=position)
        _RANKINGS[key] = ranking  # the newest is the last
        while len(_RANKINGS) > _KEPT:
            _RANKINGS.pop(next(iter(_RANKINGS)), None)
    return ranking


async def find_similar(
    context: AppContext, turns: Turns, dataset_id: str, data: bytes, *, limit: int
) -> schemas.SimilarImages:
    """The images of a dataset that are most alike to an encoded one, which need not be in it."""

    def look(image: DecodedImage, *_: float) -> _Looked:
        return _Looked(image, extractor.embed(image.pixels), hashlib.sha256(data).hexdigest())

    async with turns.lane():
        manifest, vectors = await asyncio.to_thread(_open_vectors, context, dataset_id)
        extractor = await asyncio.to_thread(_open_extractor, context, dataset_id)
        reading = Reading(extractor.fit, manifest.pixel_range, context.settings.max_pixels)
        looked = await turns.read(data, reading, look)
        ranking = Ranking(await _compare(turns, vectors, looked.vector))
        catalogue = await asyncio.to_thread(open_catalogue, context, dataset_id)
    image = looked.image
    return schemas.SimilarImages(
        image=PredictionImage(
            width=image.width, height=image.height, format=image.format, sha256=looked.sha256
        ),
        warnings=list(image.notes),
        data=[
            describe_item(catalogue, position, ranking.similarity_of(position))
            for position in ranking.order[:limit].tolist()
        ],
    )


async def _compare(turns: Turns, vectors: Vectors, vector: NDArray[np.float32]) -> NDArray[np.float32]:
    pieces = []
    for start in range(0, len(vectors), _ROWS_IN_A_TURN):
        rows = vectors[start : start + _ROWS_IN_A_TURN]
        pieces.append(await turns.work(lambda rows=rows: cosines(rows, vector)))  # type: ignore[misc]
    return np.concatenate(pieces)


def _open_vectors(context: AppContext, dataset_id: str) -> tuple[DatasetManifest, Vectors]:
    manifest = read_manifest(context, dataset_id)
    download_examination(context.storage, dataset_id)
    folder = context.storage.dataset(dataset_id)
    try:
        _verify(folder, _stamp(folder / VECTORS, folder / HEADER))
    except FeaturesUnavailableError as error:
        hint = f"Have them computed: `loupe dataset examine {dataset_id}`."
        raise FeaturesUnavailableError(error.detail, hint=hint) from error
    return manifest, map_vectors(folder)


def _open_extractor(context: AppContext, dataset_id: str) -> Extractor:
    """The one that made the vectors of a dataset: those of another cannot be compared with its own."""
    storage = context.storage
    folder = storage.remote.download(storage.extractor)
    extractor = _load_extractor(folder, _stamp(folder / MODEL, folder / NOTE))
    header = read_header(storage.dataset(dataset_id))
    if header is None or header.extractor != extractor.note.sha256:
        raise FeaturesUnavailableError(
            "The feature vectors of the dataset are of another extractor than the one of this machine.",
            hint=f"Have them computed anew: `loupe dataset examine {dataset_id}`.",
        )
    return extractor


def _stamp(*paths: Path) -> Stamp:
    """Another one for files that have changed; it reads none."""
    found = [path.stat() for path in paths if path.exists()]
    return tuple((one.st_ino, one.st_size, one.st_mtime_ns) for one in found)


@lru_cache(maxsize=64)
def _verify(folder: Path, _: Stamp) -> None:
    """Reads all of the vectors once: 256 MB of 100,000 images take half a second."""
    load_features(folder, load_manifest(folder))


@lru_cache(maxsize=1)
def _load_extractor(folder: Path, _: Stamp) -> Extractor:
    """Some 40 MB, from the first uploaded image on."""
    return Extractor(folder)
