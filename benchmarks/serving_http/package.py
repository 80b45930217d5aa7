"""Packages a network for all contenders: ``python -m benchmarks.serving_http.package NETWORK IMAGES FOLDER``.

The folder gets Loupe's ``artifact/`` with ``model.tflite``, the same weights as ``saved_model/``, and
``labels.json``. A process of its own, so that TensorFlow does not share the cores with what is measured.

The weights are random: they cost what trained ones cost. But an untrained network answers nearly the same for
every image, and a server that mixed up its images would not be noticed. So the statistics of its batch
normalisations are taken from the images, and its classifier is scaled until the answers differ.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
from numpy.typing import NDArray

from app.artifacts import KERAS_MODEL, LITERT_MODEL, write_artifact
from app.images.decode import decode_image
from app.images.resize import Fit, rule_for
from benchmarks.serving import as_if_trained, describe

CLASSES = 10
CALIBRATED = 20
"""Images that the classifier is scaled on."""
SPREAD = 2.0
"""Standard deviation of the logits over images."""


def package(name: str, images: list[bytes], folder: Path) -> None:
    from app.networks import create_network
    from app.training.export import build_inference_model, save_model

    network = create_network(name, num_classes=CLASSES)
    size: tuple[int, int] = network.input_shape[1:3]
    rule = rule_for("stretch")
    pixels = np.stack([decode_image(image, fit=Fit(rule, size)).pixels for image in images])
    _separate(network, pixels.astype(np.float32))
    weights = [weight.numpy() for weight in network.weights]
    model = build_inference_model(name, size, CLASSES, weights)
    folder.mkdir(parents=True)
    files = [folder / KERAS_MODEL, folder / LITERT_MODEL]
    outputs = save_model(model, *files)
    model.export(folder / "saved_model", verbose=False)
    manifest = describe(name, size, CLASSES, rule.name, files[1], outputs)
    (folder / "labels.json").write_text(json.dumps(manifest.labels), encoding="utf-8")
    write_artifact(folder / "artifact", manifest, files)


def _separate(network: Any, pixels: NDArray[np.float32]) -> None:
    """Gives the network weights with which its answers for these images differ."""
    import keras

    network.set_weights(as_if_trained([weight.numpy() for weight in network.weights]))
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    network(pixels, training=True)
    logits = network.predict_on_batch(pixels)
    classifier = network.get_layer("logits")
    kernel, bias = classifier.get_weights()
    factor = SPREAD / logits.std(axis=0).mean()
    classifier.set_weights([kernel * factor, (bias - logits.mean(axis=0)) * factor])


if __name__ == "__main__":
    package(
        sys.argv[1],
        [path.read_bytes() for path in sorted(Path(sys.argv[2]).glob("*.jpg"))[:CALIBRATED]],
        Path(sys.argv[3]),
    )
