"""Real LiteRT models, small enough to know their answers: the brightest colour channel is the class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.artifacts import (
    REFERENCES,
    Artifact,
    Manifest,
    Output,
    ReferenceFeatures,
    Serving,
    write_artifact,
)
from app.images.resize import FIRST_RULE

SIZE = (16, 24)
LABELS = ("red", "green", "blue")


@pytest.fixture(scope="session")
def keras_model() -> Any:
    """Softmax of the mean colour over 30, RGB 0 to 255 in."""
    import keras

    inputs = keras.Input((*SIZE, 3))
    outputs = keras.layers.Conv2D(3, 1, use_bias=False, name="channels")(
        keras.layers.Rescaling(1 / 30)(inputs)
    )
    outputs = keras.layers.Softmax()(keras.layers.GlobalAveragePooling2D()(outputs))
    model = keras.Model(inputs, outputs)
    model.get_layer("channels").set_weights([np.eye(3, dtype=np.float32).reshape(1, 1, 3, 3)])
    return model


@pytest.fixture(scope="session")
def litert_models(keras_model: Any) -> dict[str, bytes]:
    """The model above, and ones that must not be served."""
    import keras
    import tensorflow as tf

    from app.training.export import convert_to_litert

    inputs = keras.Input((*SIZE, 3))
    colour = keras.layers.GlobalAveragePooling2D()(inputs)
    models = {
        "channels": keras_model,
        "logits": keras.Model(inputs, colour),
        "nan": keras.Model(inputs, keras.layers.Rescaling(float("nan"))(colour)),
        "four_classes": keras.Model(inputs, keras.layers.Dense(4, activation="softmax")(colour)),
        # 0 / 0 for white images alone.
        "nan_for_white": keras.Model(inputs, _share_of_darkness(colour)),
    }
    converted = {
        name: tf.lite.TFLiteConverter.from_keras_model(model).convert() for name, model in models.items()
    }
    with_features = keras.Model(inputs, [keras_model(inputs), colour])
    return {**converted, "with_features": convert_to_litert(with_features)}


def _share_of_darkness(colour: Any) -> Any:
    import keras

    darkness = keras.layers.Rescaling(-1.0, offset=255.0)(colour)
    return darkness / keras.ops.sum(darkness, axis=-1, keepdims=True)


@pytest.fixture
def make_artifact(litert_models: dict[str, bytes], tmp_path: Path) -> Callable[..., Artifact]:
    def make(
        folder: Path,
        model: str = "channels",
        references: list[tuple[float, float, float]] | None = None,
        **changes: Any,
    ) -> Artifact:
        """``references``: mean colours as unit vectors, for the model ``with_features``."""
        sources = tmp_path / "exported"
        sources.mkdir(exist_ok=True)
        (sources / "model.tflite").write_bytes(litert_models[model])
        (sources / "model.keras").write_bytes(b"not opened when serving")
        manifest = Manifest(
            **{
                "network": "tiny_cnn",
                "image_size": SIZE,
                "labels": LABELS,
                "resize_rule": FIRST_RULE.name,
                "dataset_digest": "d" * 64,
                "split_digest": None,
                "hyperparameters": {},
                "seed": 0,
                "best_epoch": 1,
                "metrics": {},
                "weights_sha256": "w" * 64,
                "serving": Serving("litert", "float32", len(litert_models[model])),
                "versions": {},
                "created_at": "2026-01-02T03:04:05Z",
            }
            | changes
        )
        files = [sources / "model.keras", sources / "model.tflite"]
        if references is not None:
            np.save(sources / REFERENCES, np.array(references, np.float16))
            files.append(sources / REFERENCES)
            manifest = replace(
                manifest,
                outputs=(Output("probabilities", 3), Output("features", 3)),
                reference_features=ReferenceFeatures(REFERENCES, len(references), 3, "float16"),
            )
        return write_artifact(folder, manifest, files)

    return make


@pytest.fixture
def artifact(make_artifact: Callable[..., Artifact], tmp_path: Path) -> Artifact:
    return make_artifact(tmp_path / "artifact")
