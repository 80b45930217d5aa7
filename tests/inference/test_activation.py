"""The maps of a class add up to what the model answers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from app.artifacts import CLASSIFIER, Artifact
from app.errors import ArtifactError
from app.inference.activation import ActivationMaps, has_maps
from app.inference.predictor import Predictor


def test_the_mean_of_a_map_is_its_share_of_the_logit(packaged: Artifact) -> None:
    """Served are softmax((mean + bias) / T): between two images and two classes the bias cancels out."""
    assert has_maps(packaged)
    predictor = Predictor(packaged, interpreters=1)
    maps = ActivationMaps(predictor)
    size = predictor.fit.size
    images = np.random.default_rng(0).integers(0, 256, (4, *size, 3), dtype=np.uint8)
    images[0], images[1] = (250, 10, 10), (10, 10, 250)
    classes = range(len(predictor.labels))
    means = np.array([[maps.draw(image, label).mean() for label in classes] for image in images])
    logs = np.log([predictor.predict(image) for image in images])
    assert maps.draw(images[0], 0).shape == maps.shape
    assert packaged.manifest.calibration is not None
    temperature = packaged.manifest.calibration.temperature

    def between(values: np.ndarray) -> np.ndarray:
        return np.diff(np.diff(values, axis=1), axis=0)

    assert np.abs(between(means)).max() > 0.1
    # float16 weights have 11 bits.
    np.testing.assert_allclose(between(logs), between(means) / temperature, rtol=0.01, atol=0.01)


def test_a_damaged_classifier_is_an_error(packaged: Artifact, tmp_path: Path) -> None:
    folder = tmp_path / "artifact"
    shutil.copytree(packaged.folder, folder)
    np.save(folder / CLASSIFIER, np.zeros((1, 1), np.float16))
    damaged = Artifact(folder, packaged.manifest, packaged.digest)
    with pytest.raises(ArtifactError, match=CLASSIFIER):
        ActivationMaps(Predictor(damaged, interpreters=1))


def test_a_model_of_an_older_release_has_no_maps(artifact: Artifact) -> None:
    assert not has_maps(artifact)
    with pytest.raises(ValueError, match="no feature maps"):
        ActivationMaps(Predictor(artifact, interpreters=1))
