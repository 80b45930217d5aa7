"""The network without its classifier, as a LiteRT file that was made on this machine and is verified."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from app.errors import ArtifactError, FeaturesUnavailableError, InvalidRequestError
from app.features.files import MODEL, NETWORK, NOTE
from app.host.files import describe
from app.images.resize import Fit, get_rule
from app.inference.interpreters import Interpreters
from app.schemas.message import Message, parse_message

IMAGE_SIZE = (224, 224)
RESIZE_RULE = "pillow-bilinear-stretch-2"
DIMENSIONS = 1280
_HINT = "Delete the file: the next import makes it anew."


class ExtractorNote(Message):
    """What an extractor is. ``sha256``: of its file; ``weights_sha256``: of the published weights it has."""

    format_version: Literal[1] = 1
    network: str
    weights_sha256: str
    image_size: tuple[int, int]
    resize_rule: str
    dimensions: int
    sha256: str


class Extractor:
    """Feature vectors from any number of threads at once. ``fit``: how an image is made to its input."""

    def __init__(self, folder: Path) -> None:
        """Loads that of ``folder``. Raises FeaturesUnavailableError if there is none that is sound."""
        note = read_note(folder)
        if note is None:
            raise FeaturesUnavailableError(
                "There is no extractor of features on this machine.",
                hint=f"It is made from the weights of {NETWORK}: `loupe weights download {NETWORK}`.",
            )
        model = (folder / MODEL).read_bytes()
        if hashlib.sha256(model).hexdigest() != note.sha256:
            raise FeaturesUnavailableError(f"{folder / MODEL} is damaged.", hint=_HINT)
        self.note = note
        self.fit = Fit(get_rule(note.resize_rule), note.image_size)
        try:
            self._interpreters = Interpreters(
                model, MODEL, (1, *note.image_size, 3), (1, note.dimensions), hint=_HINT
            )
        except ArtifactError as error:
            raise FeaturesUnavailableError(error.detail, hint=error.hint) from error

    def embed(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The feature vector, float32 (dimensions,), of an RGB image, uint8 (height, width, 3), fitted."""
        return self._interpreters.run(pixels[np.newaxis].astype(np.float32))


def read_note(folder: Path) -> ExtractorNote | None:
    """What the extractor in ``folder`` is; None if it is damaged, or this version of Loupe uses another."""
    try:
        note = parse_message(ExtractorNote, (folder / NOTE).read_bytes(), NOTE)
    except (FileNotFoundError, InvalidRequestError):
        return None
    is_wanted = (note.network, note.image_size, note.resize_rule) == (NETWORK, IMAGE_SIZE, RESIZE_RULE)
    return note if is_wanted and (folder / MODEL).is_file() else None


def describe_extractor(weights_sha256: str, model: Path) -> ExtractorNote:
    """The note of a file that was just made from the published weights."""
    return ExtractorNote(
        network=NETWORK,
        weights_sha256=weights_sha256,
        image_size=IMAGE_SIZE,
        resize_rule=RESIZE_RULE,
        dimensions=DIMENSIONS,
        sha256=describe(model).sha256,
    )
