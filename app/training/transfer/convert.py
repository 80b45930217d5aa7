"""One model in another form, and the proof that it answers as the served one."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from app.artifacts import KERAS_MODEL, make_probes, open_artifact
from app.child import Reporter
from app.errors import ConversionError
from app.host.files import describe
from app.inference.predictor import Predictor
from app.schemas.model_formats import MODEL_FORMATS, MadeFormat
from app.training.device import library_versions
from app.training.parity import measure_parity
from app.training.transfer.rebuild import rebuild_model
from app.training.transfer.spec import ConversionResult, ConversionSpec

Array = np.ndarray[Any, Any]
Answer = Callable[[Array], Array]
"""float32 images (n, height, width, 3) → probabilities (n, classes)."""

OPSET = 18
_INPUT, _OUTPUT = "image", "probabilities"


@dataclass(frozen=True)
class Converted:
    """The file, what answers from it, and the versions of what made it."""

    path: Path
    answer: Answer
    versions: dict[str, str]


def convert_artifact(spec: ConversionSpec, folder: Path, reporter: Reporter) -> ConversionResult:
    """Raises ArtifactError, WeightsError, ConversionError; ParityError when it answers otherwise."""
    tf.config.set_visible_devices([], "GPU")  # The job has leased none.
    artifact = open_artifact(spec.artifact, digest=spec.artifact_digest)
    model = rebuild_model(artifact.manifest, artifact.path(KERAS_MODEL), folder)
    probes = make_probes(artifact.manifest.image_size)
    predictor = Predictor(artifact, interpreters=1)
    expected = np.stack([predictor.predict(image) for image in probes])
    reporter.stage("exporting")
    spec.out.mkdir(parents=True)
    converted = CONVERTERS[spec.format](model, spec.out / f"model.{MODEL_FORMATS[spec.format].suffix}")
    reporter.stage("verifying")
    parity = measure_parity(
        converted.answer(probes.astype(np.float32)),
        expected,
        [f"number {index}" for index in range(len(probes))],
        images="made-up images",
        model=f"the {spec.format} file",
        hint="The file was not kept. This is a fault of Loupe or of a library: please report it.",
    )
    described = describe(converted.path)
    return ConversionResult(
        out=spec.out,
        file=converted.path.name,
        bytes=described.bytes,
        sha256=described.sha256,
        parity=parity,
        versions=converted.versions,
    )


def convert_to_saved_model(model: keras.Model, path: Path) -> Converted:
    """A zip of TensorFlow's own folder, with the signature ``serving_default``: image → probabilities."""
    folder = path.with_name("saved_model")
    # Not by `model.export`: Keras 3.15 stores every weight twice.
    module = tf.Module()
    module.weights = [variable.value for variable in model.variables]
    serve = tf.function(_serve(model), input_signature=[_signature(model)])
    tf.saved_model.save(module, str(folder), signatures=serve.get_concrete_function())
    _zip(folder, path)
    loaded = tf.saved_model.load(str(folder))
    shutil.rmtree(folder)

    def answer(images: Array) -> Array:
        # Through ``loaded``, which owns the weights and must live.
        outputs = loaded.signatures["serving_default"](image=tf.constant(images))
        values: Array = outputs[_OUTPUT].numpy()
        return values

    return Converted(path, answer, library_versions())


def convert_to_onnx(model: keras.Model, path: Path) -> Converted:
    """Of the traced function, by tf2onnx: the file that Keras itself exports of EfficientNetB0 is malformed.

    Raises ConversionError.
    """
    try:
        import onnx
        import onnxruntime
        import tf2onnx
    except ImportError as error:
        raise ConversionError(
            f"This worker has no {error.name}, which makes ONNX files.",
            hint="Run `pip install 'loupe-classifier[train]'` on the worker, then retry the job.",
        ) from error
    signature = [_signature(model)]
    serve = tf.function(_serve(model), input_signature=signature)
    made, _ = tf2onnx.convert.from_function(serve, input_signature=signature, opset=OPSET)
    onnx.checker.check_model(made)
    path.write_bytes(made.SerializeToString())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    versions = {
        **library_versions(),
        **{package.__name__: package.__version__ for package in (onnx, onnxruntime, tf2onnx)},
    }
    return Converted(path, lambda images: session.run([_OUTPUT], {_INPUT: images})[0], versions)


CONVERTERS: dict[MadeFormat, Callable[[keras.Model, Path], Converted]] = {
    "saved_model": convert_to_saved_model,
    "onnx": convert_to_onnx,
}


def _serve(model: keras.Model) -> Callable[[Any], dict[str, Any]]:
    def serve(image: Any) -> dict[str, Any]:
        return {_OUTPUT: model(image, training=False)}

    return serve


def _signature(model: keras.Model) -> Any:
    height, width = model.input_shape[1:3]
    return tf.TensorSpec((None, height, width, 3), tf.float32, name=_INPUT)


def _zip(folder: Path, target: Path) -> None:
    """The folder under its own name, each file as it is: weights hardly shrink."""
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder.parent).as_posix())
