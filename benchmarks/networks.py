"""Measure every network on this machine and write docs/networks.md (``make bench-networks``).

    python -m benchmarks.networks                 measure all, write the table
    python -m benchmarks.networks NETWORK ...     measure these, keep the others' numbers
    python -m benchmarks.networks --missing       measure those without numbers
    python -m benchmarks.networks --write         write the table from the numbers at hand

Training is a whole step (forward, backward, AdamW) at the network's own image size, per image of the
batch, on all cores. Serving is LiteRT in float32 at batch 1 on one thread. The best repetition counts, for
others may use the machine.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.networks import create_network, list_networks
from app.networks.measured import MEASURED, read_measured
from app.networks.pretrained.sources import get_published
from app.networks.registry import NetworkSpec, get_network

PAGE = Path(__file__).parents[1] / "docs" / "networks.md"
BATCH = 8
LARGE_PIXELS = 400
"""Of images this large a batch does not fit into 24 GiB."""

HEADER = """# Networks

Parameters are the trainable ones at 1,000 classes; operations are the multiply-accumulates of convolutions
and dense layers for one image of the input size; MB is the size of the weights in float32. Any image size
from the smallest on is taken; the input size is the default. Names are matched without regard to case,
underscores and hyphens; the aliases are other common spellings.

Each network answers as its published reference does with the same weights: see
`tests/networks/test_reference.py`. Top-1 is
the published accuracy of the weights named, on ImageNet's validation set.
"""


def main(arguments: list[str]) -> None:
    measured = read_measured()
    for number, spec in enumerate(chosen := _choose(arguments, measured), start=1):
        measured["networks"][spec.name] = numbers = measure(spec)
        print(f"{number}/{len(chosen)} {spec.name}: {numbers}", flush=True)
        measured["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
        MEASURED.write_text(json.dumps(measured, indent=1, sort_keys=True) + "\n")
    PAGE.write_text(render(measured))


def _choose(arguments: list[str], measured: dict[str, Any]) -> list[NetworkSpec]:
    if arguments == ["--write"]:
        return []
    if arguments == ["--missing"]:
        return [spec for spec in list_networks() if spec.name not in measured["networks"]]
    return [get_network(name) for name in arguments] or list(list_networks())


def render(measured: dict[str, Any]) -> str:
    """The page from the registry's facts and what was measured."""
    lines = [
        HEADER,
        "| network | aliases | parameters | M MACs | MB | input | smallest | top-1 | weights, licence "
        "| training ms | serving ms | paper |",
        "|---|---|--:|--:|--:|--:|--:|--:|---|--:|--:|---|",
    ]
    for spec in list_networks():
        weights = get_published(spec.name)
        numbers = measured["networks"].get(spec.name, {})
        cells = [
            f"`{spec.name}`",
            ", ".join(spec.aliases),
            f"{spec.parameters:,}",
            f"{spec.macs:,}",
            f"{(spec.parameters + spec.statistics) * 4 / 1e6:.1f}",
            str(spec.image_size),
            str(spec.min_image_size),
            f"{weights.top1:.1f}" if weights else "–",
            f"{weights.source}, {weights.licence}" if weights else "none",
            _training(numbers),
            f"{numbers['serving_ms']:.1f}" if numbers else "–",
            f"[{spec.paper}]({spec.paper_url})" if spec.paper_url else spec.paper,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append(f"\nMilliseconds an image, measured on {measured['machine'] or 'no machine yet'}:")
    lines.append(
        "`python -m benchmarks.networks`. Training: a step with 8 images on all cores, divided by 8;"
    )
    lines.append(
        "¹ one image at a time, which takes longer. Serving: one image, one thread, LiteRT in float32."
    )
    return "\n".join(lines) + "\n"


def _training(numbers: dict[str, Any]) -> str:
    mark = "¹" if numbers.get("batch") == 1 else ""
    return f"{numbers['training_ms']:.0f}{mark}" if numbers else "–"


def measure(spec: NetworkSpec) -> dict[str, float | int]:
    """Milliseconds an image for a training step and for serving."""
    import keras
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    from app.training.export import convert_to_litert

    keras.utils.set_random_seed(0)
    network = create_network(spec.name, num_classes=10)
    pictures = np.random.default_rng(0).uniform(0, 255, (BATCH, *network.input_shape[1:])).astype("float32")

    interpreter = Interpreter(model_content=convert_to_litert(network), num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pictures[:1])
    serving = best_seconds(interpreter.invoke, 5)

    network.compile(
        keras.optimizers.AdamW(1e-4),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    labels = np.arange(BATCH) % 10
    batch = BATCH if spec.image_size < LARGE_PIXELS else 1
    training = best_seconds(lambda: network.train_on_batch(pictures[:batch], labels[:batch]), 3) / batch
    keras.backend.clear_session()
    milliseconds = {"training_ms": round(training * 1000, 1), "serving_ms": round(serving * 1000, 2)}
    return {**milliseconds, "batch": batch}


def best_seconds(call: Callable[[], object], repetitions: int) -> float:
    """The fastest of several calls, after one that builds what the first call builds."""
    call()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


if __name__ == "__main__":
    main(sys.argv[1:])
