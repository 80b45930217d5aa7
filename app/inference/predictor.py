"""One loaded model that answers for images: the only way a packaged model is asked, served or evaluated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue
from threading import Lock
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from app.artifacts import LITERT_MODEL, Artifact, Manifest
from app.errors import ArtifactError
from app.images.decode import DecodedImage, decode_image
from app.images.resize import Fit, get_rule

_SUM_TOLERANCE = 1e-3
_HINT = "Train the model again, or roll back to the one before."


class Predictor:
    """Answers of one artifact, from any number of threads at once.

    A LiteRT interpreter serves one call at a time, so there is a pool: up to ``interpreters`` (default: the
    number of CPUs), each made when the ones before are busy. ``threads`` is how many threads one of them
    computes with; one thread an image and several images at once give the most images a second.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 1, interpreters: int | None = None) -> None:
        """Loads the model and asks it once. Raises ArtifactError if it cannot be served as measured."""
        manifest = artifact.manifest
        _require_that_all_is_applied(manifest)
        self.artifact = artifact
        self.labels = manifest.labels
        self.fit = Fit(get_rule(manifest.resize_rule), manifest.image_size)
        self.pixel_range = manifest.input.pixel_range if manifest.input is not None else None
        self._threads = threads
        self._capacity = interpreters or _default_interpreters()
        self._model = artifact.read(LITERT_MODEL)
        self._idle: LifoQueue[_Interpreter] = LifoQueue()
        self._count, self._lock = 1, Lock()
        self._idle.put(self._create_interpreter())
        self.predict(np.zeros((*manifest.image_size, 3), np.uint8))

    @property
    def nbytes(self) -> int:
        """About how much memory the model takes now, in bytes."""
        return estimate_bytes(self.artifact, self._count)

    @property
    def most_bytes(self) -> int:
        """The same once it has all its interpreters."""
        return estimate_bytes(self.artifact, self._capacity)

    def predict(self, pixels: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, float32 (classes,) in the labels' order, of an RGB image that was fitted by ``fit``.

        ``pixels``: uint8 or float32 (height, width, 3), 0 to 255. Raises ArtifactError when the model's
        answer is no probability distribution.
        """
        if pixels.dtype not in (np.uint8, np.float32) or pixels.shape != (*self.fit.size, 3):
            raise ValueError(
                f"pixels must be uint8 or float32 {(*self.fit.size, 3)}, not {pixels.dtype} {pixels.shape}"
            )
        batch = pixels[np.newaxis].astype(np.float32)
        with self._borrow() as interpreter:
            probabilities = interpreter.run(batch)
        # Written so that NaN fails it too.
        if not abs(float(probabilities.sum()) - 1) <= _SUM_TOLERANCE or probabilities.min() < 0:
            raise ArtifactError("The model's answer is not a probability distribution.", hint=_HINT)
        return probabilities

    def predict_bytes(self, data: bytes) -> tuple[DecodedImage, NDArray[np.float32]]:
        """Decodes an encoded image and answers for it. Raises ImageDecodeError, ImageTooLargeError."""
        image = decode_image(data, pixel_range=self.pixel_range, fit=self.fit)
        return image, self.predict(image.pixels)

    @contextmanager
    def _borrow(self) -> Iterator[_Interpreter]:
        interpreter = self._take()
        try:
            yield interpreter
        finally:
            self._idle.put(interpreter)

    def _take(self) -> _Interpreter:
        # Last in, first out: the interpreter used last has its memory in the CPU's caches.
        try:
            return self._idle.get_nowait()
        except Empty:
            pass
        with self._lock:
            may_create = self._count < self._capacity
            self._count += may_create
        if not may_create:
            return self._idle.get()
        try:
            return self._create_interpreter()
        except BaseException:
            with self._lock:
                self._count -= 1
            raise

    def _create_interpreter(self) -> _Interpreter:
        manifest = self.artifact.manifest
        return _Interpreter(self._model, (1, *manifest.image_size, 3), (1, len(self.labels)), self._threads)


def estimate_bytes(artifact: Artifact, interpreters: int | None) -> int:
    """About how much memory a model takes with so many interpreters, in bytes.

    The file, and for each interpreter the weights once more, packed for the CPU, and activations of about
    16 times the input (MobileNetV2 at 224 px: a file of 8.9 MB, then 17.4 MB for each interpreter).
    """
    manifest = artifact.manifest
    height, width = manifest.image_size
    file = manifest.files[LITERT_MODEL].bytes
    activations = 16 * height * width * 3 * np.dtype(np.float32).itemsize
    return file + (interpreters or _default_interpreters()) * (file + activations)


def _default_interpreters() -> int:
    return os.cpu_count() or 1


def _require_that_all_is_applied(manifest: Manifest) -> None:
    """Raises ArtifactError for a model of a newer version, whose answers would be others than it measured."""
    unknown = []
    if manifest.calibration is not None:
        unknown.append("calibrated probabilities")
    if unknown:
        raise ArtifactError(
            f"The model was measured with {' and '.join(unknown)}, which this Loupe does not apply.",
            hint="Use the version of Loupe that made the model, or train it again with this one.",
        )


class _Interpreter:
    """A LiteRT interpreter of a model with one float32 input and output. Not for several threads at once."""

    def __init__(
        self, model: bytes, input_shape: tuple[int, ...], output_shape: tuple[int, ...], threads: int
    ) -> None:
        try:
            self._litert = Interpreter(model_content=model, num_threads=threads)
            self._litert.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"{LITERT_MODEL} cannot be loaded: {error}", hint=_HINT) from error
        self._input = _only_tensor("input", self._litert.get_input_details(), input_shape)
        self._output = _only_tensor("output", self._litert.get_output_details(), output_shape)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        self._litert.set_tensor(self._input, batch)
        self._litert.invoke()
        # get_tensor copies: the answer outlives the interpreter's next run.
        answer: NDArray[np.float32] = self._litert.get_tensor(self._output)[0]
        return answer


def _only_tensor(kind: str, details: list[dict[str, Any]], shape: tuple[int, ...]) -> int:
    found = [(tuple(int(side) for side in detail["shape"]), detail["dtype"].__name__) for detail in details]
    if found != [(shape, "float32")]:
        raise ArtifactError(f"{LITERT_MODEL} has the {kind} {found} instead of {shape} float32.", hint=_HINT)
    return int(details[0]["index"])
