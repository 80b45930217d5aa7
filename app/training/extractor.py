"""Makes the extractor of features from published weights: ``python -m app.training.extractor FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

from app.child import Reporter, StopSignal, run_child
from app.errors import TrainingError
from app.features.extractor import DIMENSIONS, IMAGE_SIZE, Extractor, describe_extractor
from app.features.files import MODEL, NETWORK, NOTE
from app.host.files import folder_aside, write_json
from app.schemas.message import Message
from app.training.libraries import loading_tensorflow

PROBES, TOLERANCE = 4, 1e-3


class ExtractorSpec(Message):
    """``weights_root``: the folder of published weights. ``out``: the folder that the extractor becomes."""

    weights_root: Path
    out: Path


class ExtractorResult(Message):
    """``sha256``: of the extractor's file. ``difference``: the largest from Keras's own features."""

    sha256: str
    difference: float


def make_extractor(
    spec: ExtractorSpec, _folder: Path, reporter: Reporter, _stop: StopSignal
) -> ExtractorResult:
    """Builds the network with its published weights, leaves out the classifier, converts, compares.

    Raises WeightsError if the weights are not on this machine, TrainingError if LiteRT's features differ from
    Keras's.
    """
    reporter.stage("preparing")
    with loading_tensorflow():
        import keras
        import numpy as np

        from app.networks.create import create_network
        from app.networks.pretrained.published import load_file, require_published, verify
        from app.networks.pretrained.transplant import HEAD
        from app.training.export import convert_to_litert
    weights, path = require_published(NETWORK, spec.weights_root)
    digest = verify(weights, path)
    network = create_network(NETWORK, IMAGE_SIZE, dropout=0.0)
    load_file(network, path)
    model = keras.Model(network.input, network.get_layer(HEAD).input, name=NETWORK)
    with folder_aside(spec.out) as aside:
        (aside / MODEL).write_bytes(convert_to_litert(model))
        note = describe_extractor(digest, aside / MODEL)
        write_json(aside / NOTE, note.model_dump(mode="json"))
        probes = np.random.default_rng(0).integers(0, 256, (PROBES, *IMAGE_SIZE, 3), np.uint8)
        extractor = Extractor(aside)
        features = np.stack([extractor.embed(probe) for probe in probes])
        difference = float(np.abs(features - np.asarray(model(probes.astype(np.float32)))).max())
        if features.shape != (PROBES, DIMENSIONS) or not difference < TOLERANCE:
            raise TrainingError(
                f"The extractor's features differ from those of the network by {difference:g}.",
                hint="This is a fault of Loupe or of a library: please report it.",
            )
    return ExtractorResult(sha256=note.sha256, difference=difference)


if __name__ == "__main__":
    sys.exit(run_child(make_extractor, ExtractorSpec, Path(sys.argv[1])))
