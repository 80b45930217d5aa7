"""Which images share what is around their points: each patch is a word, and rare words count more.

After Sivic and Zisserman, "Video Google: A Text Retrieval Approach to Object Matching in Videos" (2003),
https://doi.org/10.1109/ICCV.2003.1238663. What differs: the vocabulary holds each patch with its mirror
images, so that the words of a mirrored image follow from those of the image.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from app.datasets.concurrency import ordered_map
from app.datasets.near_duplicates.flips import BACK, FLIPS, IN_TURN
from app.datasets.near_duplicates.keypoints import DIMENSIONS, flip_waves
from app.datasets.near_duplicates.neighbours import Neighbours, nearest_of_sparse_rows
from app.datasets.near_duplicates.sketches import Sketches
from app.host.machine import count_cores

_PATCHES = 256
_BITS = 7
_RARE = 30
"""Images that have a word, or fewer: it takes little time."""
_FREQUENT_SHARE = 0.01
"""Of the images. A word that more have tells them not apart; they would take most of the time."""
_MOST_WORDS = 96
"""Of an image, its rarest, besides rare ones: the others would double the time, and lead to nothing more."""
_SAMPLED_IMAGES = 5000
_BLOCK = 64


@dataclass(frozen=True)
class Vocabulary:
    """``patches``: float32 (8 n, d), those of each flip after each other.

    ``bits``: each patch is divided into 2 ** bits words.
    """

    patches: NDArray[np.float32]
    bits: int

    @property
    def size(self) -> int:
        """The number of words without their mirror images."""
        return max(1, len(self.patches) // len(FLIPS)) << self.bits


def nearest_by_words(sketches: Sketches, most: int, progress: Callable[[int], None]) -> Neighbours:
    """The ``most`` images that share most with each image or with a mirror image of it."""
    threads = count_cores()
    starts = range(0, len(sketches), _BLOCK)
    # Many small products: threads of BLAS would wait for each other longer than they compute.
    with threadpool_limits(1), ThreadPoolExecutor(threads) as pool:
        vocabulary = make_vocabulary(sketches)

        def read(start: int) -> list[NDArray[np.int32]]:
            return [_words_of(each, vocabulary) for each in sketches[start : start + _BLOCK]]

        words = [each for block in ordered_map(pool, read, starts, ahead=2 * threads) for each in block]
        weights = _weigh(words, vocabulary.size)
        images = weights.T.tocsr()

        def search(start: int) -> Neighbours:
            block = weights[start : start + _BLOCK]
            shared = [_mirror(block, flip, vocabulary.size) @ images for flip in range(len(FLIPS))]
            return nearest_of_sparse_rows(shared, start, most)

        found = []
        for start, part in zip(starts, ordered_map(pool, search, starts, ahead=2 * threads), strict=True):
            found.append(part)
            progress(min(start + _BLOCK, len(sketches)))
    return Neighbours.join(found)


def make_vocabulary(sketches: Sketches) -> Vocabulary:
    """From points of the images themselves, chosen at random: a clustering would cost more than it brings."""
    chance = np.random.default_rng(0)
    images = chance.permutation(np.flatnonzero(sketches["number"]))[:_SAMPLED_IMAGES]
    drawn = np.sort(np.resize(images, _PATCHES)) if len(images) else images
    patches = [
        sketches[image]["points"]["waves"][chance.integers(sketches[image]["number"])] for image in drawn
    ]
    flat = np.array(patches, np.float32).reshape(-1, DIMENSIONS)
    return Vocabulary(np.concatenate([flip_waves(flat, flip) for flip in range(len(FLIPS))]), _BITS)


def find_words(vocabulary: Vocabulary, waves: NDArray[np.int8]) -> NDArray[np.intp]:
    """int (n,): word + flip × number of words, for each patch.

    A mirrored patch has the same word with another flip: each is first brought into its word's position.
    """
    values = waves.astype(np.float32)
    flips, patches = np.divmod(
        (values @ vocabulary.patches.T).argmax(1), len(vocabulary.patches) // len(FLIPS)
    )
    rest = flip_waves(values, BACK[flips].astype(np.intp)) - vocabulary.patches[patches]
    finer = ((rest[:, : vocabulary.bits] > 0) << np.arange(vocabulary.bits)).sum(1)
    found: NDArray[np.intp] = (patches << vocabulary.bits) + finer + flips * vocabulary.size
    return found


def _words_of(sketch: np.void, vocabulary: Vocabulary) -> NDArray[np.int32]:
    """int32 (n,): each word of an image once."""
    if sketch["number"] == 0:
        return np.empty(0, np.int32)
    return np.unique(find_words(vocabulary, sketch["points"]["waves"][: sketch["number"]])).astype(np.int32)


def _mirror(weights: csr_matrix, flip: int, size: int) -> csr_matrix:
    """The words that the images have when they are mirrored by ``flip``; ``size``: the words of one flip."""
    flips, words = np.divmod(weights.indices, size)
    mirrored = words + size * IN_TURN[flips, flip].astype(np.int32)
    return csr_matrix((weights.data, mirrored, weights.indptr), weights.shape)


def _weigh(words: Sequence[NDArray[np.int32]], size: int) -> csr_matrix:
    """float32 (images, words of all flips): each word by how rare it is, each row of length 1."""
    number, empty = len(words), np.empty(0, np.int32)
    having = np.bincount(np.concatenate([*words, empty]) % size, minlength=size) / len(FLIPS)
    telling = [each[_are_telling(having[each % size], number)] for each in words]
    rows = np.repeat(np.arange(number, dtype=np.int32), [len(each) for each in telling])
    columns = np.concatenate([*telling, empty])
    values = np.log(number / np.clip(having[columns % size], 1, number)).astype(np.float32)
    lengths = np.sqrt(np.bincount(rows, values**2, minlength=number)).astype(np.float32)
    values /= np.maximum(lengths[rows], np.float32(1e-6))
    return csr_matrix((values, (rows, columns)), (number, len(FLIPS) * size))


def _are_telling(having: NDArray[np.float64], number: int) -> NDArray[np.bool_]:
    """Which words of an image are compared. ``having``: how many of the ``number`` images have each."""
    is_rarest = np.zeros(len(having), bool)
    is_rarest[np.argsort(having, kind="stable")[:_MOST_WORDS]] = True
    return (having <= _RARE) | (is_rarest & (having <= _FREQUENT_SHARE * number))
