"""What feature vectors cost and what they are worth: ``python -m benchmarks.features [FOLDER …]``.

FOLDER holds a folder of images for each class; without one, scikit-learn's handwritten digits are taken. For
each: the images a second and core-milliseconds an image of an examination, the most memory of the process,
and the accuracy of a linear classifier on the vectors, by 5-fold cross-validation.
"""

from __future__ import annotations

import argparse
import io
import resource
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from app.datasets.examination.vectors import compute_vectors, load_features
from app.datasets.importer import import_dataset
from app.datasets.manifest import DatasetManifest, load_manifest
from app.datasets.sources import Limits
from app.features.extractor import Extractor
from app.features.making import require_extractor

FOLDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=Path)
    given = parser.parse_args()
    table = Table(
        "Images", "number", "classes", "images/s", "core-ms an image", "peak, MB", "accuracy, 5-fold"
    )
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        began = time.perf_counter()
        extractor = require_extractor(root / "extractor", root / "weights", root / "made", lambda: None)
        made = time.perf_counter() - began
        for folder in given.folders or [write_digits(root / "digits")]:
            table.add_row(*_measure(folder, root / f"of-{folder.name}", extractor))
    console = Console(width=110)
    console.print(f"The extractor was made in {made:.1f} s.")
    console.print(table)


def _measure(folder: Path, home: Path, extractor: Extractor) -> tuple[str, ...]:
    import_dataset(folder, home / "images", home / "dataset", home / "scratch", Limits(), lambda *_: None)
    manifest = load_manifest(home / "dataset")
    began, cpu = time.perf_counter(), time.process_time()
    compute_vectors(
        manifest, home / "images", home / "dataset", extractor, lambda *_: None, partial=home / "partial"
    )
    seconds, core_seconds = time.perf_counter() - began, time.process_time() - cpu
    number = len(manifest.items)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    scores = _cross_validate(load_features(home / "dataset", manifest), manifest)
    return (
        folder.name,
        f"{number:,}",
        str(len(manifest.classes)),
        f"{number / seconds:.0f}",
        f"{1000 * core_seconds / number:.1f}",
        f"{peak:.0f}",
        f"{scores.mean():.4f}",
    )


def _cross_validate(vectors: NDArray[np.float16], manifest: DatasetManifest) -> NDArray[np.float64]:
    labels = [item.label for item in manifest.items]
    classifier = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=1000))
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    scores: NDArray[np.float64] = cross_val_score(
        classifier, np.asarray(vectors, np.float32), labels, cv=folds
    )
    return scores


def write_digits(folder: Path) -> Path:
    """A folder of images for each digit of scikit-learn's set; returns it."""
    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        target = folder / str(label) / f"{number:04d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        Image.fromarray((pixels * 15.9).astype(np.uint8)).save(buffer, "PNG")
        target.write_bytes(buffer.getvalue())
    return folder


if __name__ == "__main__":
    main()
