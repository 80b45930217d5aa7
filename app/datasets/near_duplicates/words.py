"""Which images share what is around their points: each patch is a word, and rare words count more.

After Sivic and Zisserman, "Video Google: A Text Retrieval Approach to Object Matching in Videos" (2003),
https://doi.org/10.1109/ICCV.2003.1238663. What differs: the vocabulary holds each patch with its mirror
images, so that the words of a mirrored image follow from those of the image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from app.datasets.near_duplicates.flips import FLIPS
from app.datasets.near_duplicates.keypoints import FLIPS_OF_WAVES
from app.datasets.near_duplicates.neighbours import Neighbours, best_of_flips, nearest_of_rows
from app.datasets.near_duplicates.sketches import Sketches

_PATCHES = 512
_BITS = 7
_FREQUENT = 30
_FREQUENT_SHARE = 0.01
"""Of the images. A word that more have tells them not apart; they would take most of the time."""
_SAMPLED_IMAGES = 5000
_BLOCK = 256


@dataclass(frozen=True)
class Vocabulary:
    """``patches``: float32 (4 n, d), those of each flip after each other.

    ``bits``: each patch is divided into 2 ** bits words.
    """

    patches: NDArray[np.float32]
    bits: int

    @property
    def size(self) -> int:
        """The number of words without their mirror images."""
        return (len(self.patches) // len(FLIPS)) << self.bits


def nearest_by_words(sketches: Sketches, most: int, progress: Callable[[int], None]) -> Neighbours:
    """The ``most`` images that share most with each image or with a mirror image of it."""
    # Many small products: threads of BLAS would wait for each other longer than they compute.
    with threadpool_limits(1):
        weights = _weigh(sketches, make_vocabulary(sketches))
    transposed = weights.T.tocsr()
    size = weights.shape[1] // len(FLIPS)
    columns = np.arange(weights.shape[1])
    mirrored = [columns % size + size * (columns // size ^ flip) for flip in range(len(FLIPS))]
    found = []
    for start in range(0, len(sketches), _BLOCK):
        block = weights[start : start + _BLOCK]
        shared, flips = best_of_flips((block[:, order] @ transposed).toarray() for order in mirrored)
        found.append(nearest_of_rows(shared, flips, np.arange(start, start + len(shared)), most))
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
    flat = np.array(patches, np.float32).reshape(-1, FLIPS_OF_WAVES.shape[1])
    return Vocabulary(np.concatenate([flat * signs for signs in FLIPS_OF_WAVES]), _BITS)


def find_words(vocabulary: Vocabulary, waves: NDArray[np.int8]) -> NDArray[np.intp]:
    """int (n,): word + flip × number of words, for each patch.

    A mirrored patch has the same word with another flip: each is first brought into its word's position.
    """
    values = waves.astype(np.float32)
    flips, patches = np.divmod(
        (values @ vocabulary.patches.T).argmax(1), len(vocabulary.patches) // len(FLIPS)
    )
    rest = values * FLIPS_OF_WAVES[flips] - vocabulary.patches[patches]
    finer = ((rest[:, : vocabulary.bits] > 0) << np.arange(vocabulary.bits)).sum(1)
    found: NDArray[np.intp] = (patches << vocabulary.bits) + finer + flips * vocabulary.size
    return found


def _weigh(sketches: Sketches, vocabulary: Vocabulary) -> csr_matrix:
    """(images, words of all flips): each word of an image by how rare it is, each row of length 1."""
    empty = np.empty(0, np.intp)
    words = [
        np.unique(find_words(vocabulary, each["points"]["waves"][: each["number"]]))
        if each["number"]
        else empty
        for each in sketches
    ]
    rows = np.repeat(np.arange(len(words)), [len(each) for each in words])
    columns = np.concatenate([*words, empty])
    size = max(vocabulary.size, 1)
    images_with = np.bincount(columns % size, minlength=size) / len(FLIPS)
    having = images_with[columns % size]
    is_telling = having <= max(_FREQUENT, _FREQUENT_SHARE * len(words))
    rows, columns = rows[is_telling], columns[is_telling]
    values = np.log(len(words) / np.clip(having[is_telling], 1, len(words)))
    lengths = np.sqrt(np.bincount(rows, values**2, minlength=len(words)))
    values = (values / np.maximum(lengths[rows], 1e-6)).astype(np.float32)
    return csr_matrix((values, (rows, columns)), (len(words), len(FLIPS) * vocabulary.size))
