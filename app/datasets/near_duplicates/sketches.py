"""What is kept of each image while near-duplicates are searched: about 9 kB, whatever its size."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.datasets.concurrency import ordered_map
from app.datasets.near_duplicates.borders import cut_bars
from app.datasets.near_duplicates.hashes import BITS, hash_image
from app.datasets.near_duplicates.keypoints import POINTS, Keypoint, find_keypoints
from app.host.machine import count_cores

SmallImage = Callable[[], NDArray[np.uint8]]
"""uint8 (height, width, 3) or, grey, (height, width): decoded when it is asked for. 256 pixels are plenty."""
THUMBNAIL = 32
LEAST_SIDE = 48
"""Pixels. In a smaller image no points are searched: most of what is around one would be outside of it."""
FEW_POINTS = 32

Sketch = np.dtype(
    [
        ("hash", np.uint8, (BITS // 8,)),
        ("thumbnail", np.uint8, (THUMBNAIL, THUMBNAIL)),
        ("colour", np.uint8, (3,)),
        ("number", np.uint16),
        ("points", Keypoint, (POINTS,)),
    ]
)
Sketches = NDArray[np.void]
_FORMAT = "near-duplicates 2"


def sketch(image: NDArray[np.uint8]) -> Sketches:
    """An array of one Sketch."""
    made = np.zeros(1, Sketch)
    made["colour"] = image.reshape(-1, 3 if image.ndim == 3 else 1).mean(axis=0)
    grey = image if image.ndim == 2 else np.asarray(Image.fromarray(image).convert("L"))
    inside = cut_bars(grey)
    made["hash"] = hash_image(inside)
    small = Image.fromarray(grey).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    made["thumbnail"] = np.asarray(small)
    if min(grey.shape) >= LEAST_SIDE:
        points = find_keypoints(inside)
        made["number"] = len(points)
        made["points"][0, : len(points)] = points
    return made


def have_few_points(sketches: Sketches) -> NDArray[np.bool_]:
    """Which of the images are compared by hash and pixels."""
    few: NDArray[np.bool_] = sketches["number"] < FEW_POINTS
    return few


def sketch_images(
    images: Sequence[SmallImage], path: Path, digest: str, progress: Callable[[int], None]
) -> Sketches:
    """A Sketch of each image, in the file ``path``: mapped, so that memory which is short is given back.

    What the file holds of an earlier attempt with the same ``digest``, which names images and their order, is
    not made again. ``progress`` is called with the number of images done, and may raise to leave.
    """
    head = hashlib.sha256(f"{_FORMAT} {Sketch} {digest}".encode()).digest()
    done = _count_made(path, head)
    threads = count_cores()
    with path.open("r+b" if done else "wb") as file, ThreadPoolExecutor(threads) as pool:
        if not done:
            file.write(head)
        file.seek(len(head) + done * Sketch.itemsize)
        file.truncate()
        made = ordered_map(pool, lambda image: sketch(image()), images[done:], ahead=4 * threads)
        for number, each in enumerate(made, start=done + 1):
            file.write(each.tobytes())
            progress(number)
    if not images:
        return np.empty(0, Sketch)
    return np.memmap(path, Sketch, mode="r", offset=len(head), shape=(len(images),))


def _count_made(path: Path, head: bytes) -> int:
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        if file.read(len(head)) != head:
            return 0
    return (path.stat().st_size - len(head)) // Sketch.itemsize
