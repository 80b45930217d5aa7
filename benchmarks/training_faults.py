"""Faults that trainings have: of their settings, their split, their end, or of the images that they learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks import dataset_faults
from benchmarks.dataset_faults import Random, Shot

Change = Callable[[list[Shot], Random], list[Shot]]
RATE = 1e-3
"""The default of a training from fresh weights."""


@dataclass(frozen=True)
class Fault:
    """``code``: of the finding that should come first. ``split``: numbers of images; None: the usual shares.
    ``until_epoch``: where the time of its sweep is over.
    """

    name: str
    code: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    seed: Change | None = None
    split: Callable[[int], Mapping[str, int]] | None = None
    until_epoch: int | None = None


def _of_dataset(name: str) -> Change:
    return next(fault.seed for fault in dataset_faults.FAULTS if fault.name == name)


def _classes(shots: Sequence[Shot]) -> list[str]:
    return sorted({shot.label for shot in shots})


def _shuffled(shots: list[Shot], random: Random) -> list[Shot]:
    labels = random.permutation([shot.label for shot in shots])
    return [replace(shot, label=str(label)) for shot, label in zip(shots, labels, strict=True)]


def _tenth_shuffled(shots: list[Shot], random: Random) -> list[Shot]:
    chosen = random.permutation(len(shots))[: len(shots) // 10]
    moved = _shuffled([shots[number] for number in chosen], random)
    changed = list(shots)
    for number, shot in zip(chosen, moved, strict=True):
        changed[number] = shot
    return changed


def _noise(shots: list[Shot], random: Random) -> list[Shot]:
    """A camera that shows nothing but its own noise."""
    from PIL import Image

    return [
        replace(
            shot,
            image=Image.fromarray(
                random.integers(0, 256, (shot.image.height, shot.image.width, 3), dtype=np.uint8)
            ),
        )
        for shot in shots
    ]


def _ten(shots: list[Shot], _random: Random) -> list[Shot]:
    first, second = _classes(shots)[:2]
    return [shot for name in (first, second) for shot in [one for one in shots if one.label == name][:5]]


def _nearly_all_of_one(shots: list[Shot], _random: Random) -> list[Shot]:
    """All classes but one are one, and of that one seven in a hundred are left."""
    rare = _classes(shots)[-2]
    others = [replace(shot, label="others") for shot in shots if shot.label != rare]
    few = [shot for shot in shots if shot.label == rare]
    return [*few[: max(20, len(others) * 7 // 100)], *others]


def _few_to_learn_from(images: int) -> Mapping[str, int]:
    rest = images - 30
    return {"train": 30, "valid": rest // 2, "test": rest - rest // 2}


def _few_to_choose_by(images: int) -> Mapping[str, int]:
    test = images // 4
    return {"train": images - 10 - test, "valid": 10, "test": test}


_OTHER_CAMERA = _of_dataset("a test from another camera")


FAULTS = (
    Fault("labels shuffled", "not_learning", seed=_shuffled),
    Fault("images of nothing but noise", "not_learning", seed=_noise),
    Fault("labels smoothed away, dropout 0.98", "not_learning", {"dropout": 0.98, "label_smoothing": 0.95}),
    Fault("learning rate x 1000", "rate_too_high", {"learning_rate": 1000 * RATE}),
    Fault(
        "a loss that is no number",
        "rate_too_high",
        {"learning_rate": 10.0, "optimizer": "sgd", "warmup_epochs": 0, "weight_decay": 1.0},
    ),
    Fault("learning rate / 1000", "rate_too_low", {"learning_rate": RATE / 1000}),
    Fault("one class weighs 1,000 times as much", "one_class", {"class_weights": "first"}),
    Fault("93 % of the images of one class", "one_class", {"epochs": 3}, seed=_nearly_all_of_one),
    Fault("ten images", "few_test_images", seed=_ten),
    Fault("ten images to choose the epoch by", "few_valid_images", split=_few_to_choose_by),
    Fault(
        "30 images to learn from, not augmented",
        "overfitting",
        {"augmentation": "none", "epochs": 60},
        split=_few_to_learn_from,
    ),
    Fault("stopped after 2 epochs: no time left", "early_end", until_epoch=2),
    Fault("one epoch", "too_short", {"epochs": 1}),
    Fault("one class with a frame", "shortcut", seed=_of_dataset("one class with a frame")),
    Fault("one class in another light", "shortcut", seed=_of_dataset("one class in another light")),
    Fault("one class of another size", "shortcut", seed=_of_dataset("one class of another size")),
    Fault("a test from another camera", "different_test", seed=_OTHER_CAMERA),
    Fault("one image under two labels", "contradiction", seed=_of_dataset("one image under two labels")),
    Fault("a tenth of the labels wrong", "suspect_labels", seed=_tenth_shuffled),
)
