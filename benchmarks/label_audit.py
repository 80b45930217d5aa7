"""How many wrong labels an audit finds: ``python -m benchmarks.label_audit [FOLDER …]``.

FOLDER holds a folder of images for each class; without one, scikit-learn's handwritten digits are taken. Of
each, 5 % of the labels are swapped at random, with ten seeds: precision and recall of the suspects, medians;
and what is reported of the labels as they came.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from rich.console import Console
from rich.table import Table

from app.datasets.examination.near_search import search_dataset
from app.datasets.examination.vectors import compute_vectors, load_features
from app.datasets.importer import import_dataset
from app.datasets.manifest import load_manifest
from app.datasets.near_groups import with_near_groups
from app.datasets.sources import Limits
from app.datasets.wholes import find_wholes
from app.features.extractor import Extractor
from app.features.label_audit import audit_labels
from app.features.making import require_extractor
from app.features.outliers import find_outliers
from benchmarks.features import write_digits

SWAPPED, SEEDS = 0.05, 10


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.label_audit", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=Path)
    given = parser.parse_args()
    table = Table("Images", "number", "precision", "recall", "suspects as it came", "outliers", "seconds")
    with TemporaryDirectory() as scratch:
        root = Path(scratch)
        extractor = require_extractor(root / "extractor", root / "weights", root / "made", lambda: None)
        for folder in given.folders or [write_digits(root / "digits")]:
            table.add_row(*_measure(folder, root / f"of-{folder.name}", extractor))
    Console(width=110).print(table)


def _measure(folder: Path, home: Path, extractor: Extractor) -> tuple[str, ...]:
    import_dataset(folder, home / "images", home / "dataset", home / "scratch", Limits(), lambda *_: None)
    manifest = load_manifest(home / "dataset")
    images = home / "images"
    compute_vectors(manifest, images, home / "dataset", extractor, lambda *_: None, partial=home / "partial")
    vectors = load_features(home / "dataset", manifest)
    near = search_dataset(manifest, images, vectors, home / "sketches", "", lambda _: None)
    keys = np.unique(find_wholes(with_near_groups(manifest, near.groups).items), return_inverse=True)[1]
    labels = np.array([manifest.classes.index(item.label) for item in manifest.items])
    began = time.perf_counter()
    clean = audit_labels(vectors, labels, keys, near.thumbnails)
    outliers = find_outliers(vectors, labels, keys, lambda: None)
    seconds = time.perf_counter() - began
    found = []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        swapped = rng.choice(len(labels), round(SWAPPED * len(labels)), replace=False)
        noisy = labels.copy()
        noisy[swapped] += rng.integers(1, len(manifest.classes), len(swapped))
        noisy %= len(manifest.classes)
        suspects = {suspect.index for suspect in audit_labels(vectors, noisy, keys, near.thumbnails).suspects}
        hits = len(suspects & set(swapped.tolist()))
        found.append((hits / max(1, len(suspects)), hits / len(swapped)))
    precision, recall = np.median(found, axis=0)
    number = len(labels)
    return (
        folder.name,
        f"{number:,}",
        f"{precision:.3f}",
        f"{recall:.3f}",
        f"{len(clean.suspects)} ({len(clean.suspects) / number:.2%})",
        f"{len(outliers)} ({len(outliers) / number:.2%})",
        f"{seconds:.1f}",
    )


if __name__ == "__main__":
    main()
