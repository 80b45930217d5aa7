"""A model of another Loupe becomes one of this: built anew, packaged anew, and asked the same questions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from app.artifacts import (
    CLASSIFIER,
    KERAS_MODEL,
    LITERT_MODEL,
    REFERENCES,
    Input,
    Origin,
    Output,
    Runtime,
    Serving,
    make_probes,
    write_artifact,
)
from app.child import Reporter
from app.errors import ArchiveError
from app.host.files import folder_aside
from app.inference.predictor import Predictor
from app.training.export import has_feature_maps, read_classifier, save_model
from app.training.parity import measure_parity
from app.training.transfer.rebuild import rebuild_model
from app.training.transfer.spec import ModelImportResult
from app.training.transfer.unpack import Received


def receive_model(received: Received, out: Path, folder: Path, reporter: Reporter) -> ModelImportResult:
    """Writes the artifact ``out``: both files of the model are made here, and none that came is kept.

    ``folder``: for files on the way. Raises ImageSizeError and WeightsError for what cannot be taken,
    ParityError when the model answers otherwise here than where it comes from.
    """
    tf.config.set_visible_devices([], "GPU")  # The job has leased none.
    manifest, transfer = received.manifest, received.transfer
    model = rebuild_model(manifest, received.keras_file, folder)
    reporter.stage("exporting")
    with folder_aside(out) as aside:
        files = [aside / KERAS_MODEL, aside / LITERT_MODEL]
        outputs = save_model(model, *files)
        if received.references is not None:
            _check_dimensions(received.references, outputs)
            files.append(aside / REFERENCES)
            np.save(files[-1], received.references)
        if has_feature_maps(outputs):
            files.append(aside / CLASSIFIER)
            np.save(files[-1], read_classifier(model).astype(np.float16))
        pixel_range = manifest.input.pixel_range if manifest.input is not None else None
        described = replace(
            manifest,
            serving=Serving(runtime="litert", precision="float32", bytes=files[1].stat().st_size),
            input=Input(resize_rule=manifest.resize_rule, pixel_range=pixel_range),
            runtimes=(Runtime("litert", "float32", LITERT_MODEL),),
            outputs=outputs,
            origin=Origin(
                artifact_digest=received.digest,
                model=transfer.model,
                product=transfer.product,
                version=transfer.version,
            ),
        )
        artifact = write_artifact(aside, described, files)
        reporter.stage("verifying")
        predictor = Predictor(artifact, interpreters=1)
        answers = np.stack([predictor.predict(image) for image in make_probes(manifest.image_size)])
        parity = measure_parity(
            answers,
            received.answers,
            [f"number {index}" for index in range(len(answers))],
            images="made-up images",
            model="the model that was built here",
            hint="The model was not taken. Its network may have been another in the Loupe that trained it.",
        )
        write_artifact(aside, described.with_parity(parity.model_dump()), files)
    return ModelImportResult(artifact=out, parity=parity)


def _check_dimensions(references: NDArray[np.float16], outputs: tuple[Output, ...]) -> None:
    [dimensions] = [output.size for output in outputs if output.kind == "features"]
    if references.shape[1] != dimensions:
        raise ArchiveError(
            f"{REFERENCES} has {references.shape[1]} numbers an image, and the network {dimensions}",
            hint="Send a zip as `loupe model download` writes it.",
        )
