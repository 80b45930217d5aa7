"""How fast a packaged model answers, side by side with the Keras model that it was made from.

Runs every contender in turn, round after round, so that all of them see the same machine; reports medians
over the rounds. The weights are random: they cost what trained ones cost.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from app.artifacts import KERAS_MODEL, LITERT_MODEL, Artifact, Manifest, Output, Serving, write_artifact
from app.images.resize import FIRST_RULE
from app.inference.predictor import Predictor

Answer = Callable[[NDArray[np.uint8]], Any]


@dataclass(frozen=True)
class Contender:
    """Something that answers for one image, and how many threads ask it at once."""

    name: str
    threads: int
    answer: Answer


@dataclass(frozen=True)
class Measurement:
    """Images a second of all threads together, and milliseconds of one answer."""

    pictures_per_second: float
    p50: float
    p95: float


def main() -> None:
    arguments = _parse_arguments()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        keras_model, artifact = package_network(
            arguments.network, arguments.image_size, arguments.classes, Path(folder)
        )
        height, width = artifact.manifest.image_size
        pictures = np.random.default_rng(0).integers(0, 256, (16, height, width, 3), dtype=np.uint8)
        contenders = list_contenders(keras_model, artifact)
        rounds = [
            [measure(contender, pictures, arguments.seconds) for contender in contenders]
            for _ in range(arguments.rounds)
        ]
    console.print(
        f"{arguments.network}, {height} by {width} px, {arguments.classes} classes, {os.cpu_count()} CPUs, "
        f"Python {platform.python_version()}; {arguments.rounds} rounds of {arguments.seconds:g} s"
    )
    console.print(_table(contenders, rounds))


def package_network(name: str, image_size: int | None, classes: int, folder: Path) -> tuple[Any, Artifact]:
    """The network with fresh weights, as the Keras model that would be saved and as its artifact."""
    from app.networks import create_network
    from app.training.export import build_inference_model, save_model

    network = create_network(name, image_size, classes)
    size: tuple[int, int] = network.input_shape[1:3]
    model = build_inference_model(
        name, size, classes, as_if_trained([weight.numpy() for weight in network.weights])
    )
    files = [folder / KERAS_MODEL, folder / LITERT_MODEL]
    outputs = save_model(model, *files)
    return model, write_artifact(
        folder, describe(name, size, classes, FIRST_RULE.name, files[1], outputs), files
    )


def describe(
    name: str,
    size: tuple[int, int],
    classes: int,
    resize_rule: str,
    file: Path,
    outputs: tuple[Output, ...],
) -> Manifest:
    """The manifest of a model that nothing was trained for."""
    return Manifest(
        network=name,
        image_size=size,
        labels=tuple(f"class {index}" for index in range(classes)),
        resize_rule=resize_rule,
        dataset_digest="",
        split_digest=None,
        hyperparameters={},
        seed=0,
        best_epoch=0,
        metrics={},
        weights_sha256="",
        serving=Serving("litert", "float32", file.stat().st_size),
        outputs=outputs,
        versions={},
        created_at="1970-01-01T00:00:00Z",
    )


def as_if_trained(weights: list[NDArray[Any]]) -> list[NDArray[Any]]:
    """No two alike and none zero: the converter folds zeros away and stores equal arrays once."""
    generator = np.random.default_rng(0)
    return [value + generator.normal(0, 0.01, value.shape).astype(value.dtype) for value in weights]


def list_contenders(keras_model: Any, artifact: Artifact) -> list[Contender]:
    """The predictor under one and two callers and with two threads of its own; Keras at its fastest call."""
    predictor, threaded = Predictor(artifact), Predictor(artifact, threads=2)
    return [
        Contender("Predictor", 1, predictor.predict),
        Contender("Predictor", 2, predictor.predict),
        Contender("Predictor(threads=2)", 1, threaded.predict),
        Contender("Keras, all CPUs", 1, lambda picture: keras_model.predict_on_batch(_batch(picture))),
    ]


def measure(contender: Contender, pictures: NDArray[np.uint8], seconds: float) -> Measurement:
    """Asks for image after image from each thread; one answer before the clock starts warms it up."""
    contender.answer(pictures[0])
    durations: list[list[float]] = [[] for _ in range(contender.threads)]
    start = time.perf_counter()

    def ask(mine: list[float]) -> None:
        before = time.perf_counter()
        while before < start + seconds:
            contender.answer(pictures[len(mine) % len(pictures)])
            after = time.perf_counter()
            mine.append(after - before)
            before = after

    threads = [threading.Thread(target=ask, args=(mine,)) for mine in durations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - start
    every = np.concatenate(durations)
    p50, p95 = 1000 * np.quantile(every, (0.5, 0.95))
    return Measurement(len(every) / elapsed, float(p50), float(p95))


def _batch(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    return picture[np.newaxis].astype(np.float32)


def _table(contenders: list[Contender], rounds: list[list[Measurement]]) -> Table:
    table = Table("what", "callers", "pictures/s", "p50 ms", "p95 ms", "times Keras")
    for column in table.columns[1:]:
        column.justify = "right"
    medians = [
        Measurement(*(float(np.median([getattr(one, name) for one in measurements])) for name in _FIELDS))
        for measurements in zip(*rounds, strict=True)
    ]
    for contender, median in zip(contenders, medians, strict=True):
        table.add_row(
            contender.name,
            str(contender.threads),
            f"{median.pictures_per_second:.1f}",
            f"{median.p50:.2f}",
            f"{median.p95:.2f}",
            f"{median.pictures_per_second / medians[-1].pictures_per_second:.2f}",
        )
    return table


_FIELDS = ("pictures_per_second", "p50", "p95")


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="mobilenet_v2", help="a name that `loupe networks` lists")
    parser.add_argument("--image-size", type=int, help="side in pixels; the network's own if not given")
    parser.add_argument("--classes", type=int, default=10, help="number of classes (default: 10)")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of one measurement (default: 2)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
