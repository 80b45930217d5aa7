"""Where in an image a network finds what speaks for a class: class activation maps.

Zhou, Khosla, Lapedriza, Oliva, Torralba: Learning Deep Features for Discriminative Localization, CVPR 2016,
https://arxiv.org/abs/1512.04150
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.artifacts import CLASSIFIER, Artifact
from app.errors import ArtifactError
from app.inference.predictor import Predictor, maps_of

_HINT = "Restore the folder from a backup, or train the model again."


class ActivationMaps:
    """Maps of one model, from any number of threads at once. ``shape``: their (rows, columns)."""

    def __init__(self, predictor: Predictor) -> None:
        """Reads the classifier's weights. Raises ArtifactError; ValueError for a model without maps."""
        self.predictor = predictor
        rows, columns, channels = maps_of(predictor.artifact)
        self.shape = (rows, columns)
        data = predictor.artifact.read(CLASSIFIER)
        self._classifier = _parse(data, (channels, len(predictor.labels)))

    def draw(self, pixels: NDArray[np.uint8], label: int) -> NDArray[np.float32]:
        """What each place says for the class ``label``, or below 0 against it: float32 (rows, columns).

        ``pixels``: uint8 (height, width, 3), fitted by the predictor's ``fit``. The mean over the places is
        the logit without its bias; a network that cuts off what is negative before it takes the mean
        (SqueezeNet) has a larger one. Raises ArtifactError when the map is not finite.
        """
        drawn: NDArray[np.float32] = self.predictor.map_features(pixels) @ self._classifier[:, label]
        if not np.isfinite(drawn).all():
            raise ArtifactError("The model's feature maps are not finite.", hint=_HINT)
        return drawn


def has_maps(artifact: Artifact) -> bool:
    """Whether the model gives the maps that its features are the means of; older ones do not."""
    outputs = artifact.manifest.outputs or ()
    return any(each.kind == "feature_maps" for each in outputs) and CLASSIFIER in artifact.manifest.files


def _parse(data: bytes, shape: tuple[int, int]) -> NDArray[np.float32]:
    """The classifier's weights. Nothing in the file is executed."""
    try:
        found: NDArray[Any] = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ArtifactError(f"{CLASSIFIER} cannot be read: {error}", hint=_HINT) from error
    if found.dtype != np.float16 or found.shape != shape or not np.isfinite(found).all():
        raise ArtifactError(
            f"{CLASSIFIER} is {found.dtype} {found.shape} instead of finite float16 {shape}.", hint=_HINT
        )
    return found.astype(np.float32)
