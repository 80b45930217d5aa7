"""Forecasts beside what then happened in an installation: ``python -m benchmarks.forecasts HOME``.

Time and memory: each training that ended there is forecast from those before it, as a dry run would have done
it. Accuracy: each dataset that was examined is divided anew with several seeds. The learning curve of train
and valid is compared with a classifier's accuracy on test, and that of half the images with that of all.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from app.datasets.examination.vectors import load_features
from app.datasets.manifest import DatasetManifest, Item
from app.datasets.near_groups import load_dataset
from app.datasets.split import split_dataset
from app.datasets.wholes import find_wholes
from app.db import Database
from app.errors import FeaturesUnavailableError
from app.features.files import NETWORK
from app.features.probe import fit_probe
from app.forecasts.costs import Size
from app.forecasts.curve import draw_curve
from app.forecasts.spec import Curve
from app.networks.registry import get_network
from app.schemas.forecast import AccuracyForecast, MemoryForecast, TimeForecast
from app.schemas.hyperparameters import SplitSettings
from app.services.forecast_rules import Ground, forecast_accuracy, forecast_memory, forecast_time
from app.services.past_trainings import read_past

FEWEST_IMAGES = 60


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.forecasts", description=__doc__)
    parser.add_argument("home", metavar="HOME", type=Path, nargs="?", default=Path("~/.loupe").expanduser())
    parser.add_argument("--seeds", type=int, default=3, help="how often each dataset is divided")
    given = parser.parse_args()
    console = Console(width=118)
    console.print(_times(given.home))
    with threadpool_limits(1):
        console.print(_accuracies(given.home, given.seeds))


def _times(home: Path) -> Table:
    table = Table(
        *("network", "method", "train", "epochs", "forecast, s", "4 of 5 within", "took, s", "off by"),
        *("memory, GB", "took, GB"),
        title="Each training from those before it",
    )
    with Database(f"sqlite:///{home / 'loupe.db'}").read() as session:
        past = list(reversed(read_past(session, "cpu")))
    within = near = 0
    for number, one in enumerate(past):
        ground = Ground(one.size, "cpu", past[:number][::-1])
        time, memory = forecast_time(ground), forecast_memory(ground)
        assert isinstance(time, TimeForecast)
        assert isinstance(memory, MemoryForecast)
        off = one.seconds / time.seconds.expected - 1
        within += time.seconds.low <= one.seconds <= time.seconds.high
        near += abs(off) <= 0.25
        table.add_row(
            one.size.network.name,
            one.size.method,
            str(one.size.train),
            str(one.size.epochs),
            f"{time.seconds.expected:.0f}",
            f"{time.seconds.low:.0f} to {time.seconds.high:.0f}",
            f"{one.seconds:.0f}",
            f"{off:+.0%}",
            f"{memory.bytes.expected / 1e9:.1f}",
            "-" if one.memory_bytes is None else f"{one.memory_bytes / 1e9:.1f}",
        )
    table.caption = (
        f"within the interval: {within} of {len(past)}; off by 25 % at most: {near} of {len(past)}"
    )
    return table


@dataclass(frozen=True)
class Case:
    """A dataset divided: float32 features (n, dimensions) and classes of all items, positions by split."""

    name: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    features: np.ndarray
    labels: np.ndarray
    split: dict[str, np.ndarray]
    seed: int


def _accuracies(home: Path, seeds: int) -> Table:
    table = Table(
        *("dataset", "images", "seed", "forecast", "95 %", "test", "within"),
        *("twice, from half", "95 %", "became", "within"),
        title="Linear classifiers: the forecast beside the test, and beside twice the images",
    )
    held = doubled = cases = 0
    for case in _divide(home, seeds):
        forecast, whole = _forecast(case, 1.0), _learn(case, case.split["train"])
        half = _forecast(case, 0.5)
        is_held = forecast.test.low <= whole <= forecast.test.high
        # The curve is of images left out; the same of all images is what it should foretell.
        became = forecast.curve[-1].accuracy
        twice = half.twice_the_images
        is_doubled = twice.low <= became <= twice.high
        cases, held, doubled = cases + 1, held + is_held, doubled + is_doubled
        table.add_row(
            case.name,
            str(len(case.items)),
            str(case.seed),
            f"{forecast.test.expected:.3f}",
            f"{forecast.test.low:.3f} to {forecast.test.high:.3f}",
            f"{whole:.3f}",
            "yes" if is_held else "no",
            f"{twice.expected:.3f}",
            f"{twice.low:.3f} to {twice.high:.3f}",
            f"{became:.3f}",
            "yes" if is_doubled else "no",
        )
    table.caption = (
        f"the test's accuracy within: {held} of {cases}; twice the images within: {doubled} of {cases}"
    )
    return table


def _divide(home: Path, seeds: int) -> Iterator[Case]:
    for number, folder in enumerate(sorted((home / "datasets").iterdir()), start=1):
        try:
            manifest = load_dataset(folder)
            features = load_features(folder, manifest).astype(np.float32)
        except (FeaturesUnavailableError, OSError):
            continue
        if len(manifest.items) < FEWEST_IMAGES:
            continue
        labels = np.array([manifest.classes.index(item.label) for item in manifest.items])
        for seed in range(seeds):
            split = _split(manifest, seed)
            yield Case(f"{number}", manifest.classes, manifest.items, features, labels, split, seed)


def _split(manifest: DatasetManifest, seed: int) -> dict[str, np.ndarray]:
    assigned = split_dataset(manifest, SplitSettings(), seed)
    rows: dict[str, list[int]] = {"train": [], "valid": [], "test": []}
    for row, item in enumerate(manifest.items):
        if item.id in assigned:
            rows[assigned[item.id]].append(row)
    return {name: np.array(members) for name, members in rows.items()}


def _forecast(case: Case, part: float) -> AccuracyForecast:
    """Of a training with a part of the images."""
    learned = np.sort(np.concatenate([case.split["train"], case.split["valid"]]))
    if part < 1:
        chosen = np.random.default_rng(case.seed).permutation(len(learned))[: round(part * len(learned))]
        learned = learned[np.sort(chosen)]
    wholes = find_wholes([case.items[row] for row in learned])
    curve = draw_curve(
        case.features[learned], case.labels[learned], wholes, len(case.classes), seed=case.seed, seconds=60
    )
    return forecast_accuracy(_size(case), Curve.model_validate(vars(curve)), is_own_network=True)


def _size(case: Case) -> Size:
    network = get_network(NETWORK)
    return Size(
        network=network,
        method="linear",
        image_size=(network.image_size, network.image_size),
        batch_size=32,
        train=len(case.split["train"]),
        valid=len(case.split["valid"]),
        test=len(case.split["test"]),
        epochs=1,
    )


def _learn(case: Case, rows: np.ndarray) -> float:
    """Test accuracy of the classifier that a training would fit."""
    groups = find_wholes([case.items[row] for row in rows])
    weights = np.ones(len(case.classes), np.float32)
    probe = fit_probe(case.features[rows], case.labels[rows], groups, weights, seed=case.seed)
    test = case.split["test"]
    return float((probe.predict(case.features[test]).argmax(axis=1) == case.labels[test]).mean())


if __name__ == "__main__":
    main()
