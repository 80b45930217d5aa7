"""What a training step costs: Loupe's loop beside Keras's own fit, on the same records, in one run.

    python benchmarks/training.py [--rounds 5] [--images 512] [--case NETWORK:PIXELS ...]

Core-milliseconds an image: CPU time of the whole process, all threads, divided by the images; the median
of the rounds, which alternate between the variants. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from app.training.subsets import TrainingSubset

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ["KERAS_BACKEND"] = "tensorflow"

CASES = ("tiny_cnn:32", "mobilenet_v2:96", "mobilenet_v2:224")
CLASSES, BATCH = 10, 32


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--pictures", type=int, default=512, help="a round's images; a quarter of it at 224 px"
    )
    parser.add_argument("--case", nargs="*", default=CASES, metavar="NETWORK:PIXELS")
    parser.add_argument("--measure", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        case, deterministic = arguments.measure
        print(json.dumps(measure(case, deterministic == "yes", arguments.rounds, arguments.pictures)))
        return
    for case in arguments.case:
        results = {}
        for deterministic in ("no", "yes"):
            command = [sys.executable, __file__, "--measure", case, deterministic]
            command += ["--rounds", str(arguments.rounds), "--pictures", str(arguments.pictures)]
            output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            results[deterministic] = json.loads(output.splitlines()[-1])
        print_table(case, results)


def print_table(case: str, results: dict[str, dict[str, float]]) -> None:
    base = results["no"]["keras fit"]
    print(f"\n{case.replace(':', ' at ')} px, core-ms an image (ratio to keras fit without determinism)")
    print(f"  {'':28s}{'plain':>18s}{'deterministic':>18s}")
    for name in results["no"]:
        cells = (f"{results[key][name]:.2f} ({results[key][name] / base:.2f})" for key in ("no", "yes"))
        print(f"  {name:28s}" + "".join(f"{cell:>18s}" for cell in cells), flush=True)


def measure(case: str, deterministic: bool, rounds: int, pictures: int) -> dict[str, float]:
    """Median core-ms an image of each variant; in a process of its own, as determinism cannot be undone."""
    import keras

    from app.networks import create_network, get_network
    from app.schemas.hyperparameters import Hyperparameters
    from app.training.defaults import resolve_hyperparameters
    from app.training.device import set_up_device
    from app.training.steps import build_train_step
    from app.training.subsets import TrainingSubset
    from app.training.trainee import Trainee

    name, _, size = case.partition(":")
    side = int(size)
    pictures = pictures // 4 if side > 128 else pictures
    set_up_device(Hyperparameters(deterministic=deterministic))
    keras.utils.set_random_seed(0)
    weights = np.ones(CLASSES, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        reader = write_noise(Path(folder), side, pictures)
        subset = TrainingSubset(reader, np.arange(pictures))

        def loop(augmentation: str) -> Callable[[int], None]:
            settings = resolve_hyperparameters(
                Hyperparameters(batch_size=BATCH, augmentation=augmentation),
                get_network(name),
                pretrained="none",
                train_items=pictures,
            )
            step = build_train_step(Trainee(create_network(name, side, CLASSES), settings), settings)

            def run(epoch: int) -> None:
                for batch in subset.read_epoch(epoch, settings, weights):
                    step(
                        batch.images, batch.labels, batch.weights, batch.parameters, np.float32(1e-3)
                    ).numpy()

            return run

        variants = {
            "keras fit": keras_fit(create_network(name, side, CLASSES), subset),
            "loupe": loop("none"),
            "loupe, light augmentation": loop("light"),
            "loupe, strong augmentation": loop("strong"),
        }
        return time_alternately(variants, rounds, pictures)


def keras_fit(model: Any, subset: TrainingSubset) -> Callable[[int], object]:
    import keras
    import tensorflow as tf

    images, labels = subset.reader.read(subset.positions)
    data = tf.data.Dataset.from_tensor_slices((images, labels)).shuffle(len(images), seed=0).batch(BATCH)
    data = data.map(lambda x, y: (tf.cast(x, tf.float32), y)).prefetch(2)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.AdamW(1e-3, weight_decay=1e-4)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=False)
    return lambda _epoch: model.fit(data, epochs=1, verbose=0)


def time_alternately(
    variants: dict[str, Callable[[int], object]], rounds: int, pictures: int
) -> dict[str, float]:
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for round_ in range(rounds + 1):
        for name, run in variants.items():
            start = time.process_time()
            run(round_ + 1)
            if round_ > 0:  # the first traces
                seconds[name].append(time.process_time() - start)
    return {name: 1000 * statistics.median(values) / pictures for name, values in seconds.items()}


def write_noise(folder: Path, side: int, pictures: int):  # type: ignore[no-untyped-def]
    """Records of random images."""
    from app.datasets.manifest import Item, create_manifest, image_path
    from app.datasets.tfrecord import RecordReader, ensure_records

    random = np.random.default_rng(0)
    items = []
    for index in range(pictures):
        buffer = BytesIO()
        Image.fromarray(random.integers(256, size=(side, side, 3), dtype=np.uint8)).save(buffer, "BMP")
        data = buffer.getvalue()
        sha256 = hashlib.sha256(data).hexdigest()
        path = image_path(folder, sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        label = str(index % CLASSES)
        items.append(Item(f"img_{index}", f"{index}.bmp", label, None, side, side, "bmp", sha256, len(data)))
    return RecordReader(ensure_records(create_manifest(items), folder, (side, side), folder / "records"))


if __name__ == "__main__":
    main()
