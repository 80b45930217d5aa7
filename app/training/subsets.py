"""The images of one split as training reads them: batches from the records, weighted and to be varied."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from app.datasets.tfrecord import RecordReader
from app.errors import InvalidRequestError
from app.schemas.hyperparameters import Hyperparameters
from app.training.augmentation import DRAWS, augmentation_parameters
from app.training.data_order import augmentation_draws, epoch_batches
from app.training.prefetch import prefetch

Array = np.ndarray[Any, Any]
EVALUATION_BATCH = 64


@dataclass(frozen=True)
class Subset:
    """``positions`` (n,): where its images are in the records."""

    reader: RecordReader
    positions: Array

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def labels(self) -> Array:
        """int32 (n,)"""
        return self.reader.labels[self.positions]

    def read_in_order(self) -> Iterator[tuple[Array, Array]]:
        """Batches of images uint8 (b, h, w, 3) and labels int32 (b,), always cut the same way."""
        starts = range(0, len(self), EVALUATION_BATCH)
        return prefetch(
            lambda start: self.reader.read(self.positions[start : start + EVALUATION_BATCH]), starts
        )


@dataclass(frozen=True)
class TrainingBatch:
    """images uint8 (b, h, w, 3), labels int32 (b,), weights float32 (b,), parameters for ``augment``."""

    images: Array
    labels: Array
    weights: Array
    parameters: Array


class TrainingSubset(Subset):
    """The train split, in the order and with the draws of an epoch."""

    def read_epoch(
        self, epoch: int, settings: Hyperparameters, weights: Array, *, start: int = 0
    ) -> Iterator[TrainingBatch]:
        """The epoch's batches from the ``start``-th on (from 0). ``weights``: float32 (classes,)."""
        batches = epoch_batches(
            len(self),
            settings.batch_size,
            seed=settings.seed,
            epoch=epoch,
            shuffle_buffer=settings.shuffle_buffer,
        )
        draws = augmentation_draws(len(self), DRAWS, seed=settings.seed, epoch=epoch)

        def load(chosen: Array) -> TrainingBatch:
            images, labels = self.reader.read(self.positions[chosen])
            parameters = augmentation_parameters(
                draws[chosen],
                strength=settings.augmentation,
                horizontal_flip=settings.horizontal_flip,
                image_size=self.reader.image_size,
            )
            return TrainingBatch(images, labels, weights[labels], parameters)

        return prefetch(load, batches[start:])


def weigh_classes(
    rule: Literal["none", "balanced"] | dict[str, float], labels: Array, classes: Sequence[str]
) -> Array:
    """float32 (classes,). ``balanced``: inverse frequency in ``labels``, 1 on average over its images.

    Classes that a mapping does not name weigh 1. Raises InvalidRequestError for a name that is no class.
    """
    if rule == "none":
        return np.ones(len(classes), np.float32)
    if rule == "balanced":
        counts = np.bincount(labels, minlength=len(classes))
        present = np.count_nonzero(counts)
        return (len(labels) / (present * np.maximum(counts, 1))).astype(np.float32)
    unknown = sorted(set(rule) - set(classes))
    if unknown:
        raise InvalidRequestError(
            f"class_weights names {', '.join(map(repr, unknown))}; the classes are {', '.join(classes)}."
        )
    return np.array([rule.get(name, 1.0) for name in classes], np.float32)
