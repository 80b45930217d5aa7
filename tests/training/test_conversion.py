"""Models that leave and come: rebuilt from arrays alone, to the bit, and compared with what is served."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf

from app.artifacts import (
    KERAS_MODEL,
    Artifact,
    Origin,
    Transfer,
    make_probes,
    open_artifact,
    weights_sha256,
)
from app.child import Reporter
from app.errors import ConversionError, ParityError, WeightsError
from app.inference.predictor import Predictor
from app.training.fit import read_values
from app.training.transfer import convert
from app.training.transfer.rebuild import rebuild_model
from app.training.transfer.receive import receive_model
from app.training.transfer.spec import ConversionSpec
from app.training.transfer.unpack import Received
from tests.training.packaged import SIZE, package_model

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

KERNEL = "layers/conv2d/vars/0"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return package_model(tmp_path_factory.mktemp("packaged") / "artifact")


@pytest.fixture
def make_spec(artifact: Artifact, tmp_path: Path) -> Callable[[Any], ConversionSpec]:
    return lambda wanted: ConversionSpec(
        artifact=artifact.folder, artifact_digest=artifact.digest, format=wanted, out=tmp_path / "out"
    )


@pytest.fixture
def reporter(tmp_path: Path) -> Any:
    reporter = Reporter(tmp_path / "progress.jsonl")
    yield reporter
    reporter.close()


def test_a_model_is_rebuilt_from_its_arrays_to_the_bit(artifact: Artifact, tmp_path: Path) -> None:
    model = rebuild_model(artifact.manifest, artifact.path(KERAS_MODEL), tmp_path)
    assert weights_sha256(read_values(model.weights)) == artifact.manifest.weights_sha256
    assert list(tmp_path.iterdir()) == []


def test_a_saved_model_answers_as_the_served_one_and_holds_each_weight_once(
    make_spec: Callable[[Any], ConversionSpec], artifact: Artifact, reporter: Reporter, tmp_path: Path
) -> None:
    result = convert.convert_artifact(make_spec("saved_model"), tmp_path, reporter)
    assert result.file == "model.saved_model.zip"
    assert result.parity.max_probability_difference < 1e-5
    with zipfile.ZipFile(result.out / result.file) as archive:
        archive.extractall(tmp_path)  # our own
    assert [path.name for path in result.out.iterdir()] == [result.file]
    loaded = tf.saved_model.load(str(tmp_path / "saved_model"))
    images = make_probes(SIZE)
    answers = loaded.signatures["serving_default"](image=tf.constant(images, tf.float32))["probabilities"]
    predictor = Predictor(artifact)
    assert np.abs(answers.numpy() - [predictor.predict(image) for image in images]).max() < 1e-5
    weights = sum(array.nbytes for array in read_values(loaded.weights))
    assert (tmp_path / "saved_model/variables/variables.data-00000-of-00001").stat().st_size < 1.2 * weights


def test_a_file_that_answers_otherwise_is_not_kept(
    make_spec: Callable[[Any], ConversionSpec],
    reporter: Reporter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def convert_badly(model: Any, path: Path) -> convert.Converted:
        made = convert.convert_to_onnx(model, path)
        return convert.Converted(path, lambda images: made.answer(images)[:, ::-1], {})

    monkeypatch.setitem(convert.CONVERTERS, "onnx", convert_badly)
    with pytest.raises(ParityError, match="8 of 8 made-up images get another answer from the onnx file"):
        convert.convert_artifact(make_spec("onnx"), tmp_path, reporter)


def test_a_worker_without_the_converter_says_what_to_install(
    make_spec: Callable[[Any], ConversionSpec],
    reporter: Reporter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tf2onnx", None)
    with pytest.raises(ConversionError, match="has no tf2onnx") as caught:
        convert.convert_artifact(make_spec("onnx"), tmp_path, reporter)
    assert "pip install" in str(caught.value.hint)


def change_weights(change: Callable[[h5py.File], None]) -> Callable[[Path, Path], None]:
    """Applies ``change`` to the file of weights inside a ``model.keras``."""

    def apply(source: Path, target: Path) -> None:
        weights = target.with_name("changed.h5")
        with zipfile.ZipFile(source) as archive:
            weights.write_bytes(archive.read("model.weights.h5"))
        with h5py.File(weights, "r+") as file:
            change(file)
        with zipfile.ZipFile(target, "w") as archive:
            archive.write(weights, "model.weights.h5")

    return apply


def put(name: str, make: Callable[[h5py.File, Any], Any]) -> Callable[[Path, Path], None]:
    """Puts something else in the place of an array."""

    def change(file: h5py.File) -> None:
        values = file[name][()]
        del file[name]
        if (made := make(file, values)) is not None:
            file[name] = made

    return change_weights(change)


def external(file: h5py.File, values: Any) -> None:
    """The bytes of a file of this machine as weights."""
    file.create_dataset(KERNEL, values.shape, values.dtype, external=[(os.devnull, 0, h5py.h5f.UNLIMITED)])


def virtual(file: h5py.File, values: Any) -> None:
    layout = h5py.VirtualLayout(values.shape, values.dtype)
    layout[...] = h5py.VirtualSource("/etc/hostname", "x", values.shape)
    file.create_virtual_dataset(KERNEL, layout)


def compressed(file: h5py.File, values: Any) -> None:
    file.create_dataset(KERNEL, data=values, compression="gzip")


def unwritten(file: h5py.File, values: Any) -> None:
    file.create_dataset(KERNEL, values.shape, values.dtype)


def in_itself(file: h5py.File) -> None:
    file["layers/conv2d/vars/loop"] = file["layers"]


def write(entries: list[tuple[str, bytes]]) -> Callable[[Path, Path], None]:
    def apply(_source: Path, target: Path) -> None:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in entries:
                archive.writestr(name, data)

    return apply


def write_no_zip(_source: Path, target: Path) -> None:
    target.write_bytes(b"PK" * 100)


HOSTILE: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "no zip": (write_no_zip, "cannot be read"),
    "no weights": (write([("config.json", b"{}")]), "has 0 files"),
    "no HDF5": (write([("model.weights.h5", b"\x89HDF\r\n\x1a\n" + b"\0" * 5000)]), "cannot be read"),
    "a bomb": (write([("model.weights.h5", bytes(2**26))]), "have 67,108,864 bytes"),
    "many entries": (write([(f"{n}", b"") for n in range(20)]), "more than 16 entries"),
    "NaN": (put(KERNEL, lambda _, values: values * np.nan), "are not finite"),
    "another shape": (put(KERNEL, lambda _, values: values[..., :-1]), "the network needs"),
    "another type": (put(KERNEL, lambda _, values: values.astype("f8")), "the network needs <f4"),
    "text": (put(KERNEL, lambda _f, _v: "text"), "the network needs"),
    "a group": (put(KERNEL, lambda file, _: file.create_group(KERNEL) and None), "has no array"),
    "a soft link": (put(KERNEL, lambda _f, _v: h5py.SoftLink("/layers/conv2d_1/vars/0")), "has a link"),
    "a link elsewhere": (put(KERNEL, lambda _f, _v: h5py.ExternalLink("/etc/hostname", "/")), "has a link"),
    "bytes elsewhere": (put(KERNEL, external), "as plain numbers|cannot be read"),
    "a virtual array": (put(KERNEL, virtual), "as plain numbers"),
    "compressed": (put(KERNEL, compressed), "as plain numbers"),
    "not written": (put(KERNEL, unwritten), "as plain numbers"),
    "missing": (put(KERNEL, lambda _f, _v: None), "lacks 'layers/conv2d/vars/0'"),
    "one more": (change_weights(lambda file: file.create_dataset("layers/x", data=[1.0])), "more arrays"),
    "a circle": (change_weights(in_itself), "more arrays"),
    "one number changed": (put(KERNEL, lambda _, values: values + np.float32(1e-7)), "not those that the"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_weights_that_are_not_the_networks_are_refused(artifact: Artifact, tmp_path: Path, name: str) -> None:
    change, message = HOSTILE[name]
    change(artifact.path(KERAS_MODEL), tmp_path / "model.keras")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(WeightsError, match=message):
        rebuild_model(artifact.manifest, tmp_path / "model.keras", scratch)
    assert list(scratch.iterdir()) == []


def test_a_model_that_comes_is_packaged_anew_and_answers_as_where_it_comes_from(
    artifact: Artifact, reporter: Reporter, tmp_path: Path
) -> None:
    predictor = Predictor(artifact)
    answers = np.stack([predictor.predict(image) for image in make_probes(SIZE)])
    transfer = Transfer(
        model="mdl_1", product="nuts", version=2, artifact_digest=artifact.digest, probes="", answers=()
    )
    keras_file = artifact.path(KERAS_MODEL)
    received = Received(artifact.manifest, artifact.digest, transfer, keras_file, answers, None)
    result = receive_model(received, tmp_path / "out", tmp_path, reporter)
    taken = open_artifact(result.artifact)
    assert (result.parity.items, result.parity.max_probability_difference) == (8, 0.0)
    assert taken.manifest.origin == Origin(artifact.digest, "mdl_1", "nuts", 2)
    assert taken.manifest.weights_sha256 == artifact.manifest.weights_sha256
    again = Predictor(taken)
    assert np.array_equal([again.predict(image) for image in make_probes(SIZE)], answers)

    other = Received(artifact.manifest, artifact.digest, transfer, keras_file, answers[:, ::-1], None)
    with pytest.raises(ParityError, match="from the model that was built here"):
        receive_model(other, tmp_path / "none", tmp_path, reporter)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "progress.jsonl"]
