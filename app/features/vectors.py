"""Feature vectors of a dataset as a file: float16, a row an image, in the order of its manifest.

``features.npy`` is a NumPy array that readers map into memory; ``features.json`` says of which images it is,
by which extractor, and its SHA-256. Half precision is 2.6 kB an image; the cosine of two vectors changes by
less than 0.001.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import FeaturesUnavailableError, InvalidRequestError
from app.features.files import HEADER, VECTORS
from app.host.files import describe, write_aside, write_json
from app.schemas.message import Message, parse_message

_HINT = "Have them computed: `loupe dataset examine DATASET`."


class FeatureHeader(Message):
    """``images``: SHA-256 over the images' own digests in order. ``extractor``, ``sha256``: of the files."""

    format_version: Literal[1] = 1
    images: str
    extractor: str
    network: str
    rows: int
    dimensions: int
    sha256: str


def digest_images(images: Iterable[str]) -> str:
    """What a feature file is bound to: the SHA-256 of each image's bytes, in order."""
    return hashlib.sha256(json.dumps(list(images)).encode()).hexdigest()


def write_vectors(
    folder: Path, images: Sequence[str], vectors: NDArray[np.float16], *, extractor: str, network: str
) -> None:
    """Keeps ``vectors``, float16 (images, dimensions). ``images``: the SHA-256 of each image's bytes."""
    with write_aside(folder / VECTORS) as aside, aside.open("wb") as file:
        np.save(file, vectors)
    header = FeatureHeader(
        images=digest_images(images),
        extractor=extractor,
        network=network,
        rows=vectors.shape[0],
        dimensions=vectors.shape[1],
        sha256=describe(folder / VECTORS).sha256,
    )
    write_json(folder / HEADER, header.model_dump(mode="json"))


def read_header(folder: Path) -> FeatureHeader | None:
    """What is said of the feature file in ``folder``; None if there is none that can be read."""
    try:
        return parse_message(FeatureHeader, (folder / HEADER).read_bytes(), HEADER)
    except (FileNotFoundError, InvalidRequestError):
        return None


def load_vectors(folder: Path, images: Sequence[str]) -> NDArray[np.float16]:
    """The vectors, float16 (images, dimensions), mapped into memory.

    Raises FeaturesUnavailableError if there is no file, or one that is damaged or of other images.
    """
    header = read_header(folder)
    if header is None or not (folder / VECTORS).is_file():
        raise FeaturesUnavailableError("The dataset has no feature vectors.", hint=_HINT)
    if header.images != digest_images(images):
        raise FeaturesUnavailableError("The feature vectors are of other images.", hint=_HINT)
    if describe(folder / VECTORS).sha256 != header.sha256:
        raise FeaturesUnavailableError("The file of feature vectors is damaged.", hint=_HINT)
    vectors = map_vectors(folder)
    if vectors.dtype != np.float16 or vectors.shape != (header.rows, header.dimensions):
        raise FeaturesUnavailableError("The file of feature vectors has another shape.", hint=_HINT)
    return vectors


def map_vectors(folder: Path) -> NDArray[np.float16]:
    """The vectors of a file that ``load_vectors`` found sound, mapped into memory."""
    vectors: NDArray[np.float16] = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
    return vectors
