"""Faults that datasets have, put into sound ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter

Random = np.random.Generator


@dataclass(frozen=True)
class Shot:
    label: str
    image: Image.Image
    split: str | None = None
    extension: str = "png"


@dataclass(frozen=True)
class Fault:
    """``code``: of the diagnosis that should come first."""

    name: str
    code: str
    seed: Callable[[list[Shot], Random], list[Shot]]


def _classes(shots: Sequence[Shot]) -> list[str]:
    return sorted({shot.label for shot in shots})


def _change(shots: list[Shot], label: str, change: Callable[[Image.Image], Image.Image]) -> list[Shot]:
    return [replace(shot, image=change(shot.image)) if shot.label == label else shot for shot in shots]


def _alter(image: Image.Image) -> Image.Image:
    width, height = image.size
    cut = image.crop((round(0.06 * width), round(0.08 * height), round(0.95 * width), round(0.93 * height)))
    return ImageEnhance.Brightness(cut).enhance(1.15)


def _divide(shots: list[Shot], random: Random) -> list[Shot]:
    """Into train and test, as a random split does."""
    return [replace(shot, split="test" if random.random() < 0.25 else "train") for shot in shots]


def _same_under_two_labels(shots: list[Shot], random: Random) -> list[Shot]:
    chosen = random.permutation(len(shots))[:15]
    first, second = _classes(shots)[:2]
    others = [
        replace(shots[number], label=second if shots[number].label == first else first) for number in chosen
    ]
    return shots + others


def _altered_under_two_labels(shots: list[Shot], random: Random) -> list[Shot]:
    copies = _same_under_two_labels(shots, random)[len(shots) :]
    return shots + [replace(shot, image=_alter(shot.image)) for shot in copies]


def _altered_copies_across_splits(shots: list[Shot], random: Random) -> list[Shot]:
    divided = _divide(shots, random)
    copies = [
        replace(shot, image=_alter(shot.image), split="test" if shot.split == "train" else "train")
        for shot in divided[::20]
    ]
    return divided + copies


def _class_missing_in_test(shots: list[Shot], random: Random) -> list[Shot]:
    last = _classes(shots)[-1]
    return [replace(shot, split="train") if shot.label == last else shot for shot in _divide(shots, random)]


def _other_size(shots: list[Shot], _random: Random) -> list[Shot]:
    return _change(
        shots, _classes(shots)[1], lambda image: image.resize((image.width * 3 // 2, image.height * 3 // 2))
    )


def _other_format(shots: list[Shot], _random: Random) -> list[Shot]:
    label = _classes(shots)[1]
    return [replace(shot, extension="bmp") if shot.label == label else shot for shot in shots]


def _other_colour(shots: list[Shot], _random: Random) -> list[Shot]:
    """One class under yellow light."""
    matrix = (0.9, 0, 0, 20, 0, 0.8, 0, 10, 0, 0, 0.35, 0)
    return _change(shots, _classes(shots)[1], lambda image: image.convert("RGB", matrix))


def _frame(image: Image.Image) -> Image.Image:
    framed = image.copy()
    width = max(1, round(0.06 * min(image.size)))
    ImageDraw.Draw(framed).rectangle(
        (0, 0, image.width - 1, image.height - 1), outline=(0, 0, 255), width=width
    )
    return framed


def _framed(shots: list[Shot], _random: Random) -> list[Shot]:
    return _change(shots, _classes(shots)[1], _frame)


def _few_of_a_class(shots: list[Shot], _random: Random) -> list[Shot]:
    first, *_ = _classes(shots)
    few = [shot for shot in shots if shot.label == first][:7]
    return [shot for shot in shots if shot.label != first] + few


def _one_class_under_two_names(shots: list[Shot], random: Random) -> list[Shot]:
    first, *_ = _classes(shots)
    return [
        replace(shot, label=f"{first}_new") if shot.label == first and random.random() < 0.5 else shot
        for shot in shots
    ]


def _wrong_labels(shots: list[Shot], random: Random) -> list[Shot]:
    names, changed = _classes(shots), list(shots)
    for number in random.permutation(len(shots))[: len(shots) // 20]:
        others = [name for name in names if name != shots[number].label]
        changed[number] = replace(shots[number], label=str(random.choice(others)))
    return changed


def _other_test(shots: list[Shot], random: Random) -> list[Shot]:
    """The test was taken out of focus, in less light."""

    def blur(image: Image.Image) -> Image.Image:
        blurred = image.filter(ImageFilter.GaussianBlur(max(1.0, min(image.size) / 80)))
        return ImageEnhance.Brightness(blurred).enhance(0.75)

    return [
        replace(shot, image=blur(shot.image)) if shot.split == "test" else shot
        for shot in _divide(shots, random)
    ]


def _blank(shots: list[Shot], random: Random) -> list[Shot]:
    """A camera that gave black images now and then."""
    changed = list(shots)
    for number in random.permutation(len(shots))[:12]:
        image = shots[number].image
        level = int(random.integers(0, 30))
        changed[number] = replace(shots[number], image=Image.new("RGB", image.size, (level, level, level)))
    return changed


def _imbalanced(shots: list[Shot], _random: Random) -> list[Shot]:
    """All classes but the first two are one, and of the first few are left."""
    first, second, *_ = _classes(shots)
    merged = [shot if shot.label in (first, second) else replace(shot, label="others") for shot in shots]
    largest = max(sum(shot.label == name for shot in merged) for name in ("others", second))
    few = [shot for shot in merged if shot.label == first][: max(20, largest // 12)]
    return few + [shot for shot in merged if shot.label != first]


FAULTS = (
    Fault("one image under two labels", "contradiction", _same_under_two_labels),
    Fault("an altered copy under another label", "contradiction", _altered_under_two_labels),
    Fault("altered copies in train and test", "shared_splits", _altered_copies_across_splits),
    Fault("a class that the test lacks", "missing_class", _class_missing_in_test),
    Fault("one class of another size", "shortcut", _other_size),
    Fault("one class in another format", "shortcut", _other_format),
    Fault("one class in another light", "shortcut", _other_colour),
    Fault("one class with a frame", "shortcut", _framed),
    Fault("a class of seven images", "small_class", _few_of_a_class),
    Fault("one class under two names", "twins", _one_class_under_two_names),
    Fault("5 % of the labels wrong", "suspect_labels", _wrong_labels),
    Fault("a test from another camera", "different_test", _other_test),
    Fault("black images", "blank", _blank),
    Fault("one class much smaller", "imbalance", _imbalanced),
)
