"""A real tiny network with real weights, packaged as a training packages it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras

from app.artifacts import KERAS_MODEL, LITERT_MODEL, Artifact, weights_sha256, write_artifact
from app.images.resize import FIRST_RULE
from app.training.export import create_inference_model, save_model
from app.training.fit import read_values
from tests.test_artifacts import MANIFEST_WITHOUT_FILES

SIZE = (16, 24)


def package_model(folder: Path) -> Artifact:
    """The weights are fresh: enough to be compared to the bit."""
    manifest = MANIFEST_WITHOUT_FILES
    keras.utils.set_random_seed(1)
    model = create_inference_model("tiny_cnn", SIZE, len(manifest.labels))
    folder.mkdir(parents=True)
    files = [folder / KERAS_MODEL, folder / LITERT_MODEL]
    outputs = save_model(model, *files)
    described = replace(
        manifest,
        network="tiny_cnn",
        image_size=SIZE,
        resize_rule=FIRST_RULE.name,
        outputs=outputs,
        weights_sha256=weights_sha256(read_values(model.weights)),
    )
    return write_artifact(folder, described, files)
