"""Whether confidence and promises can be believed: ``python -m benchmarks.truth FOLDER …``.

Each FOLDER holds a folder of images for each class; those in one whose name ends in ``-things`` are of no
product but strangers. Feature vectors are computed once, and the classifier is the one of ``method: linear``,
by the code of a training. Three tables: the calibration error before and after, over ten seeds; how often
promises were broken, over a hundred random divisions of the images that were not trained on; how well images
of other things are told from a product's own.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.stats import binom
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from app.datasets.examination.vectors import compute_vectors, load_features
from app.datasets.importer import import_dataset
from app.datasets.manifest import load_manifest
from app.datasets.sources import Limits
from app.evaluation.calibration import fit_temperature
from app.evaluation.decisions import fit_decision
from app.evaluation.metrics import measure_calibration
from app.evaluation.thresholds import CONFIDENCE_LEVEL, fit_thresholds
from app.features.extractor import Extractor
from app.features.making import require_extractor
from app.features.probe import fit_probe
from app.inference.familiarity import Familiarity
from app.inference.temperature import apply_temperature
from app.training.evidence import MOST_REFERENCES
from benchmarks.features import write_digits

SEEDS, DIVISIONS = 10, 100
TRAINED, TRAINED_ON_MOST = 0.4, 0.7
STRANGERS = "-things"
SHOWN = (0.01, 0.02, 0.05, 0.1)

Vectors = NDArray[np.float32]
Labels = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Images:
    """``vectors``: float32 (n, dimensions); ``labels``: (n,), of ``classes``."""

    name: str
    vectors: Vectors
    labels: Labels
    classes: tuple[str, ...]

    def only(self, chosen: Sequence[str], name: str) -> Images:
        rows = np.isin(self.labels, [self.classes.index(one) for one in chosen])
        index = np.array([chosen.index(one) if one in chosen else -1 for one in self.classes])
        return Images(name, self.vectors[rows], index[self.labels[rows]], tuple(chosen))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.truth", description=__doc__)
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=Path)
    given = parser.parse_args()
    with TemporaryDirectory() as scratch, threadpool_limits(1):
        root = Path(scratch)
        extractor = require_extractor(root / "extractor", root / "weights", root / "made", lambda: None)
        folders = [*given.folders, write_digits(root / "digits")]
        every = [_read(folder, root / f"of-{folder.name}", extractor) for folder in folders]
        products, strangers = _divide(every)
        console = Console(width=110)
        console.print(_calibrate(products))
        console.print(_promise(products))
        console.print(_tell_strangers(products, strangers))


def _read(folder: Path, home: Path, extractor: Extractor) -> Images:
    import_dataset(folder, home / "images", home / "dataset", home / "scratch", Limits(), lambda *_: None)
    manifest = load_manifest(home / "dataset")
    compute_vectors(
        manifest, home / "images", home / "dataset", extractor, lambda *_: None, partial=home / "partial"
    )
    labels = np.array([manifest.classes.index(item.label) for item in manifest.items])
    vectors = np.asarray(load_features(home / "dataset", manifest), np.float32)
    return Images(folder.name, vectors, labels, manifest.classes)


def _divide(every: list[Images]) -> tuple[list[Images], list[Images]]:
    """The products, and what is a stranger to all of them."""
    products, strangers = [], []
    for images in every:
        odd = [name for name in images.classes if name.endswith(STRANGERS)]
        own = [name for name in images.classes if name not in odd]
        products.append(images.only(own, images.name) if odd else images)
        strangers += [images.only([name], f"{name} of {images.name}") for name in odd]
    return products, strangers


@dataclass(frozen=True)
class Trained:
    """A classifier, and what it says of the images that it was not trained on."""

    trained: NDArray[np.intp]
    rest: NDArray[np.intp]
    probabilities: Vectors
    predict: Any


def _train(images: Images, seed: int, share: float = TRAINED) -> Trained:
    order = np.random.default_rng(seed).permutation(len(images.labels))
    trained, rest = np.split(order, [int(share * len(order))])
    weights = np.ones(len(images.classes), np.float32)
    names = [str(row) for row in trained]
    probe = fit_probe(images.vectors[trained], images.labels[trained], names, weights, seed=seed)
    return Trained(trained, rest, probe.predict(images.vectors[rest]), probe.predict)


def _halves(number: int, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    # Another stream than that of the trained images: two shuffles by one stream go together.
    first, second = np.array_split(np.random.default_rng([seed, number]).permutation(number), 2)
    return first, second


def _calibrate(products: list[Images]) -> Table:
    table = Table(
        *("Images", "accuracy", "temperature", "ECE before", "after", "log loss before", "after"),
        f"ECE no higher, of {SEEDS}",
        title=f"Calibration, medians of {SEEDS} seeds",
    )
    for images in products:
        rows = [_calibrate_once(images, seed) for seed in range(SEEDS)]
        accuracy, temperature, before, after, loss, calibrated = np.median(np.array(rows), axis=0)
        no_higher = sum(row[3] <= row[2] for row in rows)
        table.add_row(
            images.name,
            f"{accuracy:.3f}",
            f"{temperature:.2f}",
            *(f"{value:.4f}" for value in (before, after, loss, calibrated)),
            str(no_higher),
        )
    return table


def _calibrate_once(images: Images, seed: int) -> tuple[float, ...]:
    trained = _train(images, seed)
    valid, test = _halves(len(trained.rest), seed)
    labels = images.labels[trained.rest]
    temperature = fit_temperature(trained.probabilities[valid], labels[valid], [str(n) for n in valid]).value
    raw = trained.probabilities[test]
    served = raw if temperature == 1 else apply_temperature(raw, temperature)
    is_right = raw.argmax(axis=1) == labels[test]
    rows = np.arange(len(test))
    return (
        float(is_right.mean()),
        temperature,
        *(measure_calibration(is_right, np.asarray(p, np.float64).max(axis=1)).ece for p in (raw, served)),
        *(float(-np.log(np.maximum(p[rows, labels[test]], 1e-30)).mean()) for p in (raw, served)),
    )


def _promise(products: list[Images]) -> Table:
    """Of each product one classifier; the images that it was not trained on are divided again and again."""
    table = Table(
        *("Images", "promise", "made", "coverage", "risk seen", "beyond its binomial bound"),
        title=f"Promises at {CONFIDENCE_LEVEL:.0%} confidence, {DIVISIONS} divisions",
    )
    for images in products:
        trained = _train(images, 0)
        is_right = trained.probabilities.argmax(axis=1) == images.labels[trained.rest]
        confidence = trained.probabilities.max(axis=1).astype(np.float64)
        seen: dict[float, list[tuple[float, float, bool]]] = {one: [] for one in SHOWN}
        for seed in range(DIVISIONS):
            for max_error, outcome in _divide_once(confidence, is_right, seed):
                if max_error in seen:
                    seen[max_error].append(outcome)
        for max_error, outcomes in seen.items():
            figures = ["", "", "0"]
            if outcomes:
                coverage, risk, beyond = np.array(outcomes, np.float64).T
                figures = [f"{np.median(coverage):.3f}", f"{risk.mean():.4f}", f"{int(beyond.sum())}"]
            table.add_row(images.name, f"{max_error:g}", str(len(outcomes)), *figures)
    return table


def _divide_once(
    confidence: Floats, is_right: NDArray[np.bool_], seed: int
) -> Iterator[tuple[float, tuple[float, float, bool]]]:
    """Coverage and risk of each promise on the other half, and whether that is more than chance allows."""
    valid, test = _halves(len(confidence), seed)
    for threshold in fit_thresholds(confidence[valid], is_right[valid], [str(n) for n in valid]):
        accepted = confidence[test] > threshold.probability
        number, wrong = int(accepted.sum()), int((accepted & ~is_right[test]).sum())
        beyond = wrong > binom.ppf(CONFIDENCE_LEVEL, number, threshold.max_error)
        yield threshold.max_error, (number / len(test), wrong / max(number, 1), bool(beyond))


def _tell_strangers(products: list[Images], strangers: list[Images]) -> Table:
    table = Table(
        *("Product", "strangers", "AUROC of similarity", "of probability", "strangers rejected", "own lost"),
        title=f"Images of other things, means of {SEEDS} seeds",
    )
    for images in products:
        judges = [_learn(images, seed) for seed in range(SEEDS)]
        for other in (*(one for one in products if one is not images), *strangers):
            figures = [_tell_apart(judge, other) for judge in judges]
            table.add_row(images.name, other.name, *(f"{value:.3f}" for value in np.mean(figures, axis=0)))
    return table


@dataclass(frozen=True)
class Judge:
    """A classifier with what it needs to reject. ``own``: the vectors of its product's test images."""

    predict: Any
    similar: Any
    least: float
    own: Vectors


def _learn(images: Images, seed: int) -> Judge:
    trained = _train(images, seed, TRAINED_ON_MOST)
    valid, test = _halves(len(trained.rest), seed)
    familiarity = Familiarity(images.vectors[trained.trained[:MOST_REFERENCES]])

    def similar(vectors: Vectors) -> Vectors:
        return np.array([familiarity.measure(row) for row in vectors], np.float32)

    rest = images.vectors[trained.rest]
    labels, names = images.labels[trained.rest][valid], [str(n) for n in valid]
    decision = fit_decision(
        trained.probabilities[valid], labels, names, similar(rest[valid]), split="valid", tried=1
    )
    assert decision.similarity is not None
    return Judge(trained.predict, similar, decision.similarity, rest[test])


def _tell_apart(judge: Judge, other: Images) -> tuple[float, ...]:
    """AUROC of similarity and of probability, the share of strangers rejected, the share of its own lost."""
    is_own = np.r_[np.ones(len(judge.own)), np.zeros(len(other.vectors))]
    own, odd = judge.similar(judge.own), judge.similar(other.vectors)
    sure = [judge.predict(vectors).max(axis=1) for vectors in (judge.own, other.vectors)]
    return (
        float(roc_auc_score(is_own, np.r_[own, odd])),
        float(roc_auc_score(is_own, np.concatenate(sure))),
        float((odd < judge.least).mean()),
        float((own < judge.least).mean()),
    )


if __name__ == "__main__":
    main()
