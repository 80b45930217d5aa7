"""One loaded model that answers for images: the only way a packaged model is asked, served or evaluated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.artifacts import LITERT_MODEL, Artifact, Manifest
from app.errors import ArtifactError
from app.images.decode import DecodedImage, decode_image
from app.images.resize import Fit, get_rule
from app.inference.interpreters import Interpreters, default_interpreters

_SUM_TOLERANCE = 1e-3
_HINT = "Train the model again, or roll back to the one before."


class Predictor:
    """Answers of one artifact, from any number of threads at once.

    There are up to ``interpreters`` (default: the number of CPUs) of it, and each computes with ``threads``:
    one thread an image and several images at once give the most images a second.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 1, interpreters: int | None = None) -> None:
        """Loads the model and asks it once. Raises ArtifactError if it cannot be served as measured."""
        manifest = artifact.manifest
        _require_that_all_is_applied(manifest)
        self.artifact = artifact
        self.labels = manifest.labels
        self.fit = Fit(get_rule(manifest.resize_rule), manifest.image_size)
        self.pixel_range = manifest.input.pixel_range if manifest.input is not None else None
        self._interpreters = Interpreters(
            artifact.read(LITERT_MODEL),
            LITERT_MODEL,
            (1, *manifest.image_size, 3),
            (1, len(self.labels)),
            threads=threads,
            capacity=interpreters,
            hint=_HINT,
        )
        self.predict(np.zeros((*manifest.image_size, 3), np.uint8))

    @property
    def nbytes(self) -> int:
        """About how much memory the model takes now, in bytes."""
        return estimate_bytes(self.artifact, self._interpreters.count)

    @property
    def most_bytes(self) -> int:
        """The same once it has all its interpreters."""
        return estimate_bytes(self.artifact, self._interpreters.capacity)

    def predict(self, pixels: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities, float32 (classes,) in the labels' order, of an RGB image that was fitted by ``fit``.

        ``pixels``: uint8 or float32 (height, width, 3), 0 to 255. Raises ArtifactError when the model's
        answer is no probability distribution.
        """
        if pixels.dtype not in (np.uint8, np.float32) or pixels.shape != (*self.fit.size, 3):
            raise ValueError(
                f"pixels must be uint8 or float32 {(*self.fit.size, 3)}, not {pixels.dtype} {pixels.shape}"
            )
        probabilities = self._interpreters.run(pixels[np.newaxis].astype(np.float32))
        # Written so that NaN fails it too.
        if not abs(float(probabilities.sum()) - 1) <= _SUM_TOLERANCE or probabilities.min() < 0:
            raise ArtifactError("The model's answer is not a probability distribution.", hint=_HINT)
        return probabilities

    def predict_bytes(self, data: bytes) -> tuple[DecodedImage, NDArray[np.float32]]:
        """Decodes an encoded image and answers for it. Raises ImageDecodeError, ImageTooLargeError."""
        image = decode_image(data, pixel_range=self.pixel_range, fit=self.fit)
        return image, self.predict(image.pixels)


def estimate_bytes(artifact: Artifact, interpreters: int | None) -> int:
    """About how much memory a model takes with so many interpreters, in bytes.

    The file, and for each interpreter the weights once more, packed for the CPU, and activations of about
    16 times the input (MobileNetV2 at 224 px: a file of 8.9 MB, then 17.4 MB for each interpreter).
    """
    manifest = artifact.manifest
    height, width = manifest.image_size
    file = manifest.files[LITERT_MODEL].bytes
    activations = 16 * height * width * 3 * np.dtype(np.float32).itemsize
    return file + (interpreters or default_interpreters()) * (file + activations)


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
