"""What a search for similar images costs: ``python -m benchmarks.similar_images [IMAGES …]``.

Random vectors in a file that is mapped into memory, as an examination leaves it.
"""

from __future__ import annotations

import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np

from app.features.extractor import DIMENSIONS
from app.features.similarity import cosines
from app.features.vectors import load_vectors, write_vectors
from app.services.dataset_items import Ranking

DEFAULT = ("10000", "100000", "1000000")
TRIES = 5
_ROWS = 10_000


def main() -> None:
    print("| images | file, MB | first check, s | search, s | memory at most, MB |")
    print("|---|---|---|---|---|")
    for images in map(int, sys.argv[1:] or DEFAULT):
        with tempfile.TemporaryDirectory(dir=".") as folder:
            print(measure(images, Path(folder)))


def measure(images: int, folder: Path) -> str:
    random = np.random.default_rng(0)
    vectors = np.lib.format.open_memmap(folder / "made.npy", "w+", np.float16, (images, DIMENSIONS))
    for start in range(0, images, _ROWS):
        rows = random.standard_normal((min(_ROWS, images - start), DIMENSIONS), np.float32)
        vectors[start : start + _ROWS] = np.maximum(rows, 0)
    names = [str(image) for image in range(images)]
    write_vectors(folder, names, vectors, extractor="", network="")
    del vectors
    (folder / "made.npy").unlink()
    check = seconds(lambda: load_vectors(folder, names), tries=1)
    mapped = load_vectors(folder, names)

    def search() -> object:
        return Ranking(cosines(mapped, mapped[0].astype(np.float32)), without=0).order

    took = seconds(search, tries=TRIES)
    tracemalloc.start()
    search()
    memory = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return f"| {images:,} | {mapped.nbytes / 1e6:,.0f} | {check:.2f} | {took:.2f} | {memory / 1e6:.0f} |"


def seconds(work: Callable[[], object], *, tries: int) -> float:
    """The least of several times."""
    times = []
    for _ in range(tries):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    main()
