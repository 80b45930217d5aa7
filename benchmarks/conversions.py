"""Convert every network to the forms in which models leave, and compare the answers with LiteRT's.

    python -m benchmarks.conversions               all networks, at 64 pixels or twice their smallest size
    python -m benchmarks.conversions NETWORK ...   these

Fresh weights answer nearly the same to every image, so that any fault would pass: every BatchNorm gets the
statistics of the images, and the classifier is scaled and moved until its logits spread around zero. One
process a network keeps memory low. Such weights also make much of rounding: the last column is how far Keras
itself is from LiteRT. A difference is bold that is over the tolerance and more than twice that.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import numpy as np

from app.artifacts import make_probes
from app.networks import get_network, list_networks
from app.schemas.model_formats import MadeFormat
from app.training.libraries import loading_tensorflow

CLASSES, SIDE, SPREAD = 5, 64, 3.0


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--one"]:
        print(try_network(arguments[1]), flush=True)
        return
    names = [get_network(name).name for name in arguments] or [spec.name for spec in list_networks()]
    print(
        "| network | size | convert, s | file, MB | differs by | Keras by |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for name in names:
        command = [sys.executable, "-m", "benchmarks.conversions", "--one", name]
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        if ended.returncode:
            print(f"| {name} | FAILED | {ended.stderr.strip().splitlines()[-1][:300]} | | | |", flush=True)
        print(ended.stdout, end="", flush=True)


def try_network(name: str) -> str:
    """A row for each format."""
    with loading_tensorflow():
        from app.training.export import convert_to_litert
        from app.training.parity import MAX_PROBABILITY_DIFFERENCE
        from app.training.transfer import convert

    side = max(SIDE, 2 * get_network(name).min_image_size)
    images = make_probes((side, side))
    pixels = images.astype(np.float32)
    model = _make_model(name, side, pixels)
    served = _ask_litert(convert_to_litert(model), images)
    own = float(np.abs(model(pixels, training=False).numpy() - served).max())
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for wanted in get_args(MadeFormat):
            start = time.monotonic()
            made = convert.CONVERTERS[wanted](model, Path(folder) / f"model.{wanted}")
            seconds, size = time.monotonic() - start, made.path.stat().st_size / 1e6
            difference = float(np.abs(made.answer(pixels) - served).max())
            is_right = difference <= max(MAX_PROBABILITY_DIFFERENCE, 2 * own)
            said = f"{difference:.1e}" if is_right else f"**{difference:.1e}**"
            rows.append(f"| {name}, {wanted} | {side} | {seconds:.1f} | {size:.1f} | {said} | {own:.1e} |")
    return "\n".join(rows)


def _make_model(name: str, side: int, images: Any) -> Any:
    import keras

    from app.training.export import create_inference_model

    keras.utils.set_random_seed(1)
    model = create_inference_model(name, (side, side), CLASSES)
    random = np.random.default_rng(1)
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
        for variable in norm.trainable_variables:
            variable.assign(variable.numpy() + random.uniform(-0.2, 0.2, variable.shape))
    model(images, training=True)  # Each norm takes the statistics of these images.
    head = model.get_layer("logits")
    logits = keras.Model(model.input, model.layers[-2].output)(images, training=False).numpy()
    mean = logits.mean(axis=0)
    scale = SPREAD / max(float((logits - mean).std()), 1e-9)
    kernel, bias = head.weights
    kernel.assign(kernel.numpy() * scale)
    bias.assign((bias.numpy() - mean) * scale)
    return model


def _ask_litert(model: bytes, images: Any) -> Any:
    from ai_edge_litert.interpreter import Interpreter

    litert = Interpreter(model_content=model)
    litert.allocate_tensors()
    (given,), (answer,) = litert.get_input_details(), litert.get_output_details()
    rows = []
    for image in images:
        litert.set_tensor(given["index"], image[np.newaxis].astype(np.float32))
        litert.invoke()
        rows.append(litert.get_tensor(answer["index"])[0])
    return np.stack(rows)


if __name__ == "__main__":
    main(sys.argv[1:])
