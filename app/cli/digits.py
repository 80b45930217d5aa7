"""The demo's images: scikit-learn's handwritten digits as PNG files, and as blocks in a terminal.

The UCI ML hand-written digits (test set), 1,797 images of 8 × 8 pixels with values 0 to 16: E. Alpaydin,
C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (1998).
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text

# About 20 of each class. Evenly spread, since the images stand in the order of those who wrote them.
HELD_OUT_EVERY = 9
SHADES = " ░▒▓█"


@dataclass(frozen=True)
class DigitFolders:
    """Class folders: ``uploaded`` becomes the dataset, ``held_out`` is never sent before the end."""

    uploaded: Path
    held_out: Path


def write_digits(folder: Path) -> DigitFolders:
    """Writes every image under ``folder``, every ninth of a class apart. The same bytes every time."""
    from PIL import Image
    from sklearn.datasets import load_digits

    folders = DigitFolders(folder / "pictures", folder / "held-out")
    shutil.rmtree(folder, ignore_errors=True)
    digits = load_digits()
    pixels = (digits.images * (255 / 16)).round().astype("uint8")
    seen = [0] * 10
    for picture, label in zip(pixels, digits.target.tolist(), strict=True):
        place = folders.held_out if seen[label] % HELD_OUT_EVERY == 0 else folders.uploaded
        (place / str(label)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place / str(label) / f"{seen[label]:03d}.png")
        seen[label] += 1
    return folders


def draw_picture(path: Path) -> list[Text]:
    """A small grey image as lines of blocks, two characters a pixel."""
    from PIL import Image

    with Image.open(path) as image:
        grey = image.convert("L")
        width, height = grey.size
        values = list(grey.tobytes())
    shades = [SHADES[value * len(SHADES) // 256] * 2 for value in values]
    return [Text("".join(shades[row * width : (row + 1) * width])) for row in range(height)]
