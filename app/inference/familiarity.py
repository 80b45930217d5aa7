"""How familiar an image is to a model: how near its features come to those of a training image.

Nearest neighbours tell images of other things better than how sure a network is: Sun, Ming, Zhu, Li:
Out-of-Distribution Detection with Deep Nearest Neighbors, ICML 2022, https://arxiv.org/abs/2204.06507
"""

from __future__ import annotations

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.artifacts import Artifact
from app.errors import ArtifactError

_TINY = np.float32(1e-12)
_HINT = "Restore the folder from a backup, or train the model again."


class Familiarity:
    """Measures one image at a time, from any number of threads at once.

    The similarity to a training image is the mean of two cosines of their features: as they are, and from the
    mean of the training images. The first tells other kinds of images, the second other things in images of
    one kind; ``make bench-truth`` measures both.
    """

    def __init__(self, references: NDArray[np.float16] | NDArray[np.float32]) -> None:
        """``references``: features of training images, (n, dimensions)."""
        self._references = np.ascontiguousarray(references, np.float32)
        self._mean = self._references.mean(axis=0)
        self._lengths = _lengths(self._references)
        self._centred_lengths = _lengths(self._references - self._mean)
        self._towards_mean = self._references @ self._mean
        self._squared_mean = float(self._mean @ self._mean)

    @property
    def nbytes(self) -> int:
        return self._references.nbytes

    def measure(self, features: NDArray[np.float32]) -> float:
        """How similar an image of these ``features``, (dimensions,), is to the nearest reference: -1 to 1.

        Raises ArtifactError for features that are not finite: they compare with nothing.
        """
        # No BLAS: its threads would wait for the cores that answer other requests.
        products = np.einsum("ij,j->i", self._references, features)
        mean = self._mean
        # (reference - mean) · (features - mean), without a second pass over the references.
        centred = products - self._towards_mean - float(mean @ features) + self._squared_mean
        plain = products / (self._lengths * _lengths(features))
        from_mean = centred / (self._centred_lengths * _lengths(features - mean))
        similarity = float(plain.max() + from_mean.max()) / 2
        if not math.isfinite(similarity):
            raise ArtifactError("The model's features are not finite.", hint=_HINT)
        return similarity


def _lengths(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = np.maximum(np.linalg.norm(vectors, axis=-1), _TINY)
    return found


def read_references(artifact: Artifact) -> NDArray[np.float16] | None:
    """What the artifact has of its training images, float16 (n, dimensions). Raises ArtifactError."""
    described = artifact.manifest.reference_features
    if described is None:
        return None
    return parse_references(artifact.read(described.file), (described.items, described.dimensions))


def parse_references(data: bytes, shape: tuple[int, int]) -> NDArray[np.float16]:
    """The content of such a file. Nothing in it is executed. Raises ArtifactError."""
    try:
        found: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ArtifactError(f"The reference features cannot be read: {error}", hint=_HINT) from error
    if found.dtype != np.float16 or found.shape != shape or not shape[0] or not np.isfinite(found).all():
        raise ArtifactError(
            f"The reference features are {found.dtype} {found.shape} instead of finite float16 {shape}.",
            hint=_HINT,
        )
    return found
