"""One loaded model that answers for images: the only way a packaged model is asked, served or evaluated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.artifacts import LITERT_MODEL, Artifact, Output
from app.errors import ArtifactError
from app.images.decode import DecodedImage, decode_image
from app.images.resize import Fit, get_rule
from app.inference.decision import Verdict, choose_threshold, judge
from app.inference.familiarity import Familiarity, read_references
from app.inference.interpreters import Interpreters, default_interpreters

_SUM_TOLERANCE = 1e-3
_HINT = "Train the model again, or roll back to the one before."


@dataclass(frozen=True)
class Outcome:
    """What the model says of an image. ``probabilities``: float32 (classes,) in the labels' order.

    ``similarity``: to the nearest training image, -1 to 1; None for a model without reference features.
    """

    probabilities: NDArray[np.float32]
    similarity: float | None


class Predictor:
    """Answers of one artifact, from any number of threads at once.

    There are up to ``interpreters`` (default: the number of CPUs) of it, and each computes with ``threads``:
    one thread an image and several images at once give the most images a second.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 1, interpreters: int | None = None) -> None:
        """Loads the model and asks it once. Raises ArtifactError if it cannot be served as measured."""
        manifest = artifact.manifest
        self.artifact = artifact
        self.labels = manifest.labels
        self.fit = Fit(get_rule(manifest.resize_rule), manifest.image_size)
        self.pixel_range = manifest.input.pixel_range if manifest.input is not None else None
        self._interpreters = Interpreters(
            artifact.read(LITERT_MODEL),
            LITERT_MODEL,
            (1, *manifest.image_size, 3),
            *(output.tensor_shape for output in outputs_of(artifact)),
            threads=threads,
            capacity=interpreters,
            hint=_HINT,
        )
        references = read_references(artifact)
        self._familiarity = None if references is None else Familiarity(references)
        self.answer(np.zeros((*manifest.image_size, 3), np.uint8))

    @property
    def nbytes(self) -> int:
        """About how much memory the model takes now, in bytes."""
        return estimate_bytes(self.artifact, self._interpreters.count)

    @property
    def most_bytes(self) -> int:
        """The same once it has all its interpreters."""
        return estimate_bytes(self.artifact, self._interpreters.capacity)

    def predict(self, pixels: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """The probabilities of ``answer`` alone, without comparing the image with training images."""
        return self._run(pixels, 1)[0]

    def answer(self, pixels: NDArray[np.uint8] | NDArray[np.float32]) -> Outcome:
        """What the model says of an RGB image that was fitted by ``fit``.

        ``pixels``: uint8 or float32 (height, width, 3), 0 to 255. Raises ArtifactError when the model's
        answer is no probability distribution.
        """
        if self._familiarity is None:
            return Outcome(self._run(pixels, 1)[0], None)
        probabilities, features = self._run(pixels, 2)
        return Outcome(probabilities, self._familiarity.measure(features))

    def map_features(self, pixels: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.float32]:
        """The maps of an image fitted as for ``answer``, whose means the classifier sees.

        float32 (rows, columns, channels). Raises ValueError for a model without, see ``maps_of``.
        """
        maps_of(self.artifact)
        kinds = [output.kind for output in outputs_of(self.artifact)]
        return self._run(pixels, len(kinds))[kinds.index("feature_maps")]

    def judge(self, outcome: Outcome, max_error: float) -> Verdict | None:
        """Whether an answer is accepted where at most ``max_error`` of the accepted ones may be wrong.

        None for a model that was made without thresholds.
        """
        decision = self.artifact.manifest.decision
        if decision is None:
            return None
        threshold = choose_threshold(decision, max_error)
        return judge(outcome.probabilities, outcome.similarity, decision, threshold)

    def _run(
        self, pixels: NDArray[np.uint8] | NDArray[np.float32], outputs: int
    ) -> list[NDArray[np.float32]]:
        if pixels.dtype not in (np.uint8, np.float32) or pixels.shape != (*self.fit.size, 3):
            raise ValueError(
                f"pixels must be uint8 or float32 {(*self.fit.size, 3)}, not {pixels.dtype} {pixels.shape}"
            )
        found = self._interpreters.run_all(pixels[np.newaxis].astype(np.float32), outputs)
        probabilities = found[0]
        # Written so that NaN fails it too.
        if not abs(float(probabilities.sum()) - 1) <= _SUM_TOLERANCE or probabilities.min() < 0:
            raise ArtifactError("The model's answer is not a probability distribution.", hint=_HINT)
        return found

    def answer_bytes(self, data: bytes) -> tuple[DecodedImage, Outcome]:
        """Decodes an encoded image and answers for it. Raises ImageDecodeError, ImageTooLargeError."""
        image = decode_image(data, pixel_range=self.pixel_range, fit=self.fit)
        return image, self.answer(image.pixels)


def outputs_of(artifact: Artifact) -> tuple[Output, ...]:
    """The outputs of its model; the first release's manifests do not name them."""
    manifest = artifact.manifest
    return manifest.outputs or (Output("probabilities", len(manifest.labels)),)


def maps_of(artifact: Artifact) -> tuple[int, int, int]:
    """The (rows, columns, channels) of its feature maps. Raises ValueError for a model without."""
    for output in outputs_of(artifact):
        if output.kind == "feature_maps" and output.shape is not None:
            return output.shape
    raise ValueError("The model has no feature maps.")


def estimate_bytes(artifact: Artifact, interpreters: int | None) -> int:
    """About how much memory a model takes with so many interpreters, in bytes.

    The file, the reference features, and for each interpreter the weights once more, packed for the CPU, and
    activations of about 16 times the input (MobileNetV2 at 224 px: a file of 8.9 MB, then 17.4 MB for each
    interpreter).
    """
    manifest = artifact.manifest
    height, width = manifest.image_size
    file = manifest.files[LITERT_MODEL].bytes
    activations = 16 * height * width * 3 * np.dtype(np.float32).itemsize
    references = manifest.reference_features
    numbers = 0 if references is None else references.items * references.dimensions
    kept = numbers * np.dtype(np.float32).itemsize
    return file + kept + (interpreters or default_interpreters()) * (file + activations)
