"""What a training costs on the machine of the registry's figures: seconds, memory and disk. Pure.

The figures are those of `make bench-networks`. What they do not hold (the start of a process, the trace of a
network, a validation's part of a step) was measured on two cores; what past trainings took corrects both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from app.networks.measured import get_speed
from app.networks.registry import NetworkSpec

FORWARD = 0.35
"""A validation's part of a training step, for the same image: there is no way back through the layers."""
FROZEN = 0.45
"""The part of a step in which the classifier alone learns: all layers forward, one back."""
MOST_JUDGED, MOST_REFERENCES = 5000, 1000
"""Images whose features the packaged model is asked for: app/training/evidence.py."""
_DECODE_SECONDS = 0.004
_BASE_BYTES, _LINEAR_BASE_BYTES = 0.85e9, 1.1e9
"""Of a process with TensorFlow loaded and a traced network."""
_IMAGE_BYTES, _IMAGE_MACS, _MACS_POWER = 60e6, 350e6, 0.4
"""What a step holds of one image at 224 pixels for a network of so many multiply-accumulates; a network with
more of them holds more, though not in proportion."""
_CHECKPOINTS, _STATES = 2, 4
"""Checkpoints that are kept; the arrays of each: weights, two moments, the best weights so far."""


@dataclass(frozen=True)
class Size:
    """How much there is to do. ``image_size``: (height, width). ``train``, ``valid``, ``test``: images.

    ``has_features``: the features that a linear classifier learns from are there. ``has_records``: the images
    are there at the size of the input.
    """

    network: NetworkSpec
    method: str
    image_size: tuple[int, int]
    batch_size: int
    train: int
    valid: int
    test: int
    epochs: int
    freeze_epochs: int = 0
    validation_freq: int = 1
    has_features: bool = False
    has_records: bool = False

    @property
    def pixels(self) -> float:
        """Of an image, beside one of the network's own size."""
        return self.image_size[0] * self.image_size[1] / self.network.image_size**2

    @property
    def images(self) -> int:
        return self.train + self.valid + self.test


@dataclass(frozen=True)
class Seconds:
    """``steps``: steps and validations, which the speed of the machine decides. The others go by stage, with
    ``starting`` for all before the first step: the process, the images, the trace of the network.
    """

    starting: float
    steps: float
    evaluating: float
    exporting: float
    verifying: float

    @property
    def after(self) -> float:
        """From the last step to the end."""
        return self.evaluating + self.exporting + self.verifying

    @property
    def rest(self) -> float:
        """All but the steps and validations."""
        return self.starting + self.after


def image_seconds(size: Size) -> float | None:
    """Of a step in which all layers learn, for one image; None for a network that was not measured."""
    speed = get_speed(size.network.name)
    return None if speed is None else speed.training_ms * size.pixels / 1000


def count_step_images(size: Size) -> float:
    """The images of all steps and validations, in images of a step in which all layers learn."""
    if size.method == "linear":
        return 0.0
    learned = size.train * (size.epochs - size.freeze_epochs + FROZEN * size.freeze_epochs)
    return learned + FORWARD * size.valid * math.ceil(size.epochs / size.validation_freq)


def estimate_seconds(size: Size) -> Seconds | None:
    """None for a network that was not measured."""
    speed, image = get_speed(size.network.name), image_seconds(size)
    if speed is None or image is None:
        return None
    served = (speed.serving_ms * size.pixels / 1000 + _DECODE_SECONDS) / 2  # by both of its cores
    verifying = 1.0 + size.test * served
    if size.method == "linear":
        looked_at = 0 if size.has_features else size.train + size.valid
        fit = 0.3 + 0.0004 * size.train
        return Seconds(
            starting=5.5 + fit + looked_at * served,
            steps=0.0,
            evaluating=0.2 + size.test * served,
            exporting=3.0,
            verifying=verifying,
        )
    judged = min(size.valid, MOST_JUDGED)
    read = 0 if size.has_records else size.images * _DECODE_SECONDS / 2
    return Seconds(
        starting=4.5 + read + 7.0,
        steps=count_step_images(size) * image,
        evaluating=1.5 + (size.test + judged) * FORWARD * image,
        exporting=3.5 + (judged + min(size.train, MOST_REFERENCES)) * served,
        verifying=verifying,
    )


def estimate_memory(size: Size) -> float:
    """Bytes that the process of a training holds at most, on a processor."""
    weights = (size.network.parameters + size.network.statistics) * 4
    if size.method == "linear":
        return _LINEAR_BASE_BYTES + 3 * weights
    image = _IMAGE_BYTES * math.pow(size.network.macs * 1e6 / _IMAGE_MACS, _MACS_POWER)
    return _BASE_BYTES + 6 * weights + size.batch_size * size.pixels * image


@dataclass(frozen=True)
class Disk:
    """Bytes in the home folder: the most while it runs, and what stays with the model."""

    running: int
    kept: int


def estimate_disk(size: Size) -> Disk:
    weights = (size.network.parameters + size.network.statistics) * 4
    references = 2 * min(size.train, MOST_REFERENCES) * 1280
    kept = 2 * weights + references + 1500 * size.test + 2_000_000
    if size.method == "linear":
        return Disk(kept, kept)
    height, width = size.image_size
    records = 0 if size.has_records else size.images * (height * width * 3 + 64)
    return Disk(kept + records + _CHECKPOINTS * _STATES * weights, kept + records)
