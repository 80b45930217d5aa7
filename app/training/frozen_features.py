"""What a network with frozen weights says of images before its classifier: looked up, or computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from app.datasets.concurrency import ordered_map
from app.datasets.examination.vectors import known_vectors
from app.datasets.manifest import Item, load_manifest
from app.datasets.pictures import decode_item
from app.errors import FeaturesUnavailableError
from app.features.extractor import Extractor
from app.features.files import NETWORK
from app.host.machine import count_cores
from app.images.resize import Fit
from app.networks import get_network
from app.networks.pretrained.transplant import HEAD
from app.schemas.progress_lines import ProgressLine
from app.training.work import Work, throttle

Features = NDArray[np.float32]
_BATCH = 32


class FrozenFeatures(Protocol):
    """float32 (items, dimensions) of images, in order. ``is_exact``: not the half precision of a file."""

    def __call__(self, items: Sequence[Item], *, is_exact: bool = False) -> Features: ...


def open_features(work: Work, model: keras.Model) -> FrozenFeatures:
    """The features that the classifier of ``model`` sees, which has the weights to start from."""
    extractor = _find_extractor(work)
    if extractor is not None:
        return _FromExtractor(work, extractor)
    return _FromNetwork(work, keras.Model(model.input, model.get_layer(HEAD).input))


def _find_extractor(work: Work) -> Extractor | None:
    """The one that gave the dataset's feature vectors, if the network to be trained is just that."""
    spec = work.spec
    if spec.extractor is None or get_network(spec.network).name != NETWORK:
        return None
    try:
        extractor = Extractor(spec.extractor)
    except FeaturesUnavailableError:
        return None
    note = extractor.note
    is_same = (
        spec.image_size == note.image_size
        and spec.resize_rule.name == note.resize_rule
        and work.initial_weights.digest == note.weights_sha256
    )
    return extractor if is_same else None


class _FromExtractor:
    """What an examination kept, and for other images the same LiteRT file."""

    def __init__(self, work: Work, extractor: Extractor) -> None:
        self._work, self._extractor = work, extractor
        folder = work.spec.dataset
        self._kept = known_vectors([folder], [load_manifest(folder)], extractor)

    def __call__(self, items: Sequence[Item], *, is_exact: bool = False) -> Features:
        features = np.empty((len(items), self._extractor.note.dimensions), np.float32)
        missing = []
        for row, item in enumerate(items):
            kept = None if is_exact else self._kept.get(item.sha256)
            if kept is None:
                missing.append(row)
            else:
                features[row] = kept

        def embed(row: int) -> Features:
            return self._extractor.embed(_decode(self._work, items[row], self._extractor.fit))

        for row, vector in zip(missing, _in_threads(self._work, embed, missing), strict=True):
            features[row] = vector
        return features


class _FromNetwork:
    """Another network, or another start, than the extractor's: it is run once over each image."""

    def __init__(self, work: Work, backbone: keras.Model) -> None:
        self._work, self._fit = work, Fit(work.spec.resize_rule, work.spec.image_size)
        height, width = work.spec.image_size

        @tf.function(input_signature=[tf.TensorSpec((None, height, width, 3), tf.uint8)])
        def run(images):  # type: ignore[no-untyped-def]
            return backbone(tf.cast(images, tf.float32), training=False)

        self._run: Callable[[Any], Any] = run

    def __call__(self, items: Sequence[Item], *, is_exact: bool = False) -> Features:
        del is_exact  # It always is.

        def decode(item: Item) -> NDArray[np.uint8]:
            return _decode(self._work, item, self._fit)

        batches, waiting = [], []
        for image in _in_threads(self._work, decode, items):
            waiting.append(image)
            if len(waiting) == _BATCH:
                batches.append(self._run(np.stack(waiting)).numpy())
                waiting = []
        if waiting:
            batches.append(self._run(np.stack(waiting)).numpy())
        return np.concatenate(batches).astype(np.float32)


def _decode(work: Work, item: Item, fit: Fit) -> NDArray[np.uint8]:
    """Grey of 16 bits is read as the model will read it, whichever dataset the image is of."""
    pixels: NDArray[np.uint8] = decode_item(work.spec.image_root, item, work.manifest.pixel_range, fit).pixels
    return pixels


def _in_threads(
    work: Work, function: Callable[[Any], NDArray[Any]], inputs: Sequence[Any]
) -> Iterator[NDArray[Any]]:
    report = throttle(lambda done, total: work.reporter.emit(ProgressLine(done=done, total=total)))
    threads = count_cores()
    with ThreadPoolExecutor(threads) as pool:
        outputs = ordered_map(pool, function, inputs, ahead=4 * threads)
        for done, output in enumerate(outputs, start=1):
            yield output
            work.leave_if_asked()
            report(done, len(inputs))
