"""The gate between a training and its model: each fault that would change served answers is made on purpose.

The images are JPEGs that lie on their side by their EXIF orientation and have another shape than the input:
a decoder that forgets one of that is noticed.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from app.artifacts import (
    KERAS_MODEL,
    LITERT_MODEL,
    Artifact,
    Calibration,
    Output,
    write_artifact,
)
from app.child import Reporter, StopSignal
from app.datasets.manifest import DatasetManifest, Item, create_manifest, image_path, item_id, write_manifest
from app.datasets.pictures import decode_item
from app.datasets.tfrecord import RecordReader, ensure_records
from app.errors import ArtifactError, ParityError
from app.evaluation import answers
from app.evaluation.replay import evaluate_artifact
from app.evaluation.spec import EvaluationSpec
from app.images.resize import FIRST_RULE, get_rule
from app.inference.temperature import apply_temperature
from app.networks import list_networks
from app.networks.create import create_network
from app.training.export import build_inference_model, predict_subsets, save_model, set_temperature
from app.training.subsets import Subset
from app.training.verify import Replay, compare_answers
from benchmarks.serving import as_if_trained
from tests.test_artifacts import MANIFEST_WITHOUT_FILES

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Statistics for quantized inputs:UserWarning"),
]

LABELS = ("blue", "green", "red")
RULE = get_rule("pillow-bilinear-stretch-2")
TEMPERATURE = 1.7
ORIENTATION = 274
TURNED_RIGHT = 6


@dataclass(frozen=True)
class Trial:
    """A network with weights, its images, and what it answers to them before it is packaged."""

    root: Path
    manifest: DatasetManifest
    reader: RecordReader
    network: str
    size: tuple[int, int]
    weights: list[NDArray[Any]]
    model: keras.Model
    outputs: tuple[Output, ...]
    expected: NDArray[np.float32]

    def package(
        self, model: keras.Model | None = None, litert: bytes | None = None, **changes: Any
    ) -> Artifact:
        """The artifact of the network, or of what a fault has put in its place."""
        folder = self.root / f"artifact-{len(list(self.root.iterdir()))}"
        folder.mkdir()
        outputs, files = self.outputs, [self.root / KERAS_MODEL, self.root / LITERT_MODEL]
        if model is not None:
            files = [folder / KERAS_MODEL, folder / LITERT_MODEL]
            outputs = save_model(model, *files)
        if litert is not None:
            files[1] = folder / LITERT_MODEL
            files[1].write_bytes(litert)
            outputs = outputs[:1]
        described = replace(
            MANIFEST_WITHOUT_FILES,
            network=self.network,
            image_size=self.size,
            labels=LABELS,
            resize_rule=RULE.name,
            outputs=outputs,
            calibration=Calibration("temperature", TEMPERATURE, "valid", 9, 0.1, 0.2),
        )
        return write_artifact(folder, replace(described, **changes), files)

    def pass_gate(self, artifact: Artifact, expected: NDArray[np.float32] | None = None) -> None:
        """What a training does between the artifact and the model, without a process of its own."""
        folder = self.root / f"replay-{len(list(self.root.iterdir()))}"
        folder.mkdir()
        spec = EvaluationSpec(
            artifact=artifact.folder, dataset=self.root / "dataset", image_root=self.root / "images"
        )
        reporter = Reporter(folder / "progress.jsonl")
        try:
            result = evaluate_artifact(spec, folder, reporter, StopSignal())
        finally:
            reporter.close()
        items = tuple(item.id for item in self.manifest.items)
        replayed = Replay(folder, result.evaluation, items, np.load(folder / "probabilities.npy"))
        expected = self.expected if expected is None else expected
        compare_answers(replayed, items, LABELS, apply_temperature(expected, TEMPERATURE))


def draw_image(label: str, number: int) -> bytes:
    """A ramp in one colour, so that upside, size and colour all matter."""
    random = np.random.default_rng([number, LABELS.index(label)])
    pixels = random.integers(0, 90, (70 + 9 * number, 130, 3)).astype(np.float64)
    pixels[..., 2 - LABELS.index(label)] += np.linspace(0, 150, 130)
    exif = Image.Exif()
    exif[ORIENTATION] = TURNED_RIGHT
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=90, exif=exif)
    return buffer.getvalue()


def store(root: Path, label: str, number: int) -> Item:
    data = draw_image(label, number)
    sha256 = hashlib.sha256(data).hexdigest()
    path = image_path(root / "images", sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    name = f"{label}/{number}.jpg"
    width, height = 70 + 9 * number, 130
    return Item(
        item_id(label, None, name, sha256), name, label, None, width, height, "jpeg", sha256, len(data)
    )


def train_a_little(network: str, size: tuple[int, int], images: NDArray[np.uint8]) -> list[NDArray[Any]]:
    """Weights with which the answers to these images differ, and statistics that are those of the images."""
    keras.utils.set_random_seed(0)
    fresh = create_network(network, size, len(LABELS), dropout=0.0)
    fresh.set_weights(as_if_trained([weight.numpy() for weight in fresh.weights]))
    for layer in fresh.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    pixels = images.astype(np.float32)
    fresh(pixels, training=True)
    logits = fresh.predict_on_batch(pixels)
    kernel, bias = fresh.get_layer("logits").get_weights()
    factor = 2 / max(float(logits.std(axis=0).mean()), 1e-6)
    fresh.get_layer("logits").set_weights([kernel * factor, (bias - logits.mean(axis=0)) * factor])
    return [weight.numpy() for weight in fresh.weights]


def start_trial(root: Path, network: str, size: tuple[int, int], images: int) -> Trial:
    manifest = create_manifest([store(root, label, number) for label in LABELS for number in range(images)])
    (root / "dataset").mkdir()
    write_manifest(root / "dataset", manifest)
    reader = RecordReader(ensure_records(manifest, root / "images", size, root / "records", rule=RULE))
    weights = train_a_little(network, size, reader.read(np.arange(len(manifest.items)))[0])
    model = build_inference_model(network, size, len(LABELS), weights)
    every = Subset(reader, np.arange(len(manifest.items)))
    [expected] = predict_subsets(model, [every], lambda: None)
    calibrated = set_temperature(model, TEMPERATURE)
    outputs = save_model(calibrated, root / KERAS_MODEL, root / LITERT_MODEL)
    return Trial(root, manifest, reader, network, size, weights, model, outputs, expected)


@pytest.fixture(scope="module")
def trial(tmp_path_factory: pytest.TempPathFactory) -> Trial:
    return start_trial(tmp_path_factory.mktemp("trial"), "tiny_cnn", (24, 32), 6)


def test_a_model_without_a_fault_passes(trial: Trial) -> None:
    trial.pass_gate(trial.package())


def rebuilt(trial: Trial, weights: list[NDArray[Any]], temperature: float = TEMPERATURE) -> keras.Model:
    model = build_inference_model(trial.network, trial.size, len(LABELS), weights)
    return set_temperature(model, temperature)


def without_statistics(trial: Trial) -> Artifact:
    """As if the moving means and variances had not been saved."""
    names = [variable.path for variable in trial.model.weights]
    weights = [
        np.zeros_like(value)
        if "moving_mean" in name
        else np.ones_like(value)
        if "moving_var" in name
        else value
        for name, value in zip(names, trial.weights, strict=True)
    ]
    return trial.package(rebuilt(trial, weights))


def of_another_epoch(trial: Trial) -> Artifact:
    """Each weight a hundredth larger or smaller."""
    generator = np.random.default_rng(1)
    weights = [v * generator.normal(1, 0.01, v.shape).astype(v.dtype) for v in trial.weights]
    return trial.package(rebuilt(trial, weights))


def half_loaded(trial: Trial) -> Artifact:
    """The second half of the weights is as it was when the network was made."""
    fresh = create_network(trial.network, trial.size, len(LABELS), dropout=0.0)
    half = len(trial.weights) // 2
    return trial.package(
        rebuilt(trial, [*trial.weights[:half], *(weight.numpy() for weight in fresh.weights[half:])])
    )


def quantised(trial: Trial) -> Artifact:
    """Weights and activations of 8 bits, by the converter itself."""
    model = set_temperature(trial.model, TEMPERATURE)
    images = trial.reader.read(np.arange(4))[0].astype(np.float32)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([image[np.newaxis]] for image in images)
    return trial.package(litert=converter.convert())


PACKAGED: dict[str, Callable[[Trial], Artifact]] = {
    "labels swapped": lambda trial: trial.package(labels=("green", "blue", "red")),
    "another resize rule": lambda trial: trial.package(resize_rule=FIRST_RULE.name),
    "letterboxed": lambda trial: trial.package(resize_rule="pillow-bilinear-letterbox-2"),
    "another range of grey": lambda trial: trial.package(rebuilt(trial, scaled_input(trial))),
    "no statistics of batch normalisation": without_statistics,
    "a stale checkpoint": of_another_epoch,
    "half of the weights": half_loaded,
    "calibrated the wrong way round": lambda trial: trial.package(
        rebuilt(trial, trial.weights, 1 / TEMPERATURE)
    ),
    "not calibrated": lambda trial: trial.package(trial.model),
    "quantised": quantised,
}


def scaled_input(trial: Trial) -> list[NDArray[Any]]:
    """As if pixels went from 0 to 1: the first kernel is 255 times too large for them."""
    return [trial.weights[0] * 255, *trial.weights[1:]]


@pytest.mark.parametrize("fault", PACKAGED)
def test_a_fault_in_the_package_is_stopped(trial: Trial, fault: str) -> None:
    with pytest.raises((ParityError, ArtifactError)) as stopped:
        trial.pass_gate(PACKAGED[fault](trial))
    assert stopped.value.hint


def test_a_network_whose_answers_depend_on_the_batch_is_stopped(trial: Trial) -> None:
    """One that normalises by the images beside it: it is served one image at a time."""
    images = trial.reader.read(np.arange(len(trial.manifest.items)))[0].astype(np.float32)
    saved = [variable.numpy() for variable in trial.model.weights]
    expected = np.concatenate([trial.model(part, training=True).numpy() for part in np.split(images, 3)])
    trial.model.set_weights(saved)
    with pytest.raises(ParityError):
        trial.pass_gate(trial.package(), expected)


def swap_channels(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels[..., ::-1]


DECODED: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "BGR": swap_channels,
    "EXIF orientation ignored": lambda pixels: np.ascontiguousarray(
        np.array(Image.fromarray(np.rot90(pixels)).resize(pixels.shape[1::-1], Image.Resampling.BILINEAR))
    ),
    "mirrored": lambda pixels: pixels[:, ::-1],
    "brightened": lambda pixels: np.minimum(pixels.astype(np.int16) + 12, 255).astype(np.uint8),
    "shifted by a pixel": lambda pixels: np.roll(pixels, 1, axis=1),
}


@pytest.mark.parametrize("fault", DECODED)
def test_a_fault_in_decoding_is_stopped(trial: Trial, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = decode_item

    def decode_wrongly(*given: Any) -> Any:
        image = decode(*given)
        return replace(image, pixels=np.ascontiguousarray(DECODED[fault](image.pixels)))

    monkeypatch.setattr(answers, "decode_item", decode_wrongly)
    with pytest.raises(ParityError):
        trial.pass_gate(trial.package())


@pytest.mark.parametrize("name", [LITERT_MODEL, KERAS_MODEL])
def test_a_truncated_file_is_stopped(trial: Trial, name: str) -> None:
    artifact = trial.package()
    path = artifact.folder / name
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ArtifactError, match="bytes instead of"):
        trial.pass_gate(artifact)


@pytest.mark.slow
@pytest.mark.parametrize("network", [spec.name for spec in list_networks()])
def test_no_network_is_stopped_without_a_fault(network: str, tmp_path: Path) -> None:
    """Forty minutes of two cores: `make test-all`."""
    side = next(spec.min_image_size for spec in list_networks() if spec.name == network)
    trial = start_trial(tmp_path, network, (side, side), 2)
    trial.pass_gate(trial.package())
