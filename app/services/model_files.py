"""Models that leave: the files of one, checked, and the zip in which it goes to another Loupe."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from app.artifacts import (
    KERAS_MODEL,
    LITERT_MODEL,
    PROBES,
    Artifact,
    Transfer,
    make_probes,
    open_artifact,
    write_archive,
)
from app.context import AppContext
from app.errors import ArtifactError
from app.host.files import describe, make_folder, move, sync
from app.inference.predictor import Predictor
from app.models import TrainedModel
from app.schemas.model_formats import MODEL_FORMATS, FormatName, MadeFormat
from app.services.model_exports import find_export
from app.services.trained_models import require_model

logger = logging.getLogger(__name__)
T = TypeVar("T")

_OF_THE_ARTIFACT: dict[str, str] = {"keras": KERAS_MODEL, "tflite": LITERT_MODEL}


@dataclass(frozen=True)
class ModelFile:
    """A file to send: where it lies, what it is called, and the digest of its bytes."""

    path: Path
    name: str
    media_type: str
    sha256: str


def get_model_file(context: AppContext, model_id: str, wanted: FormatName) -> ModelFile:
    """One form of a model, checked by its digest.

    Raises ConflictError for one that a worker has yet to make, ArtifactError when the model is damaged and
    nobody has it whole.
    """
    with context.db.read() as session:
        model = require_model(session, model_id)
    if wanted == "zip":
        path, sha256 = _get_archive(context, model)
    elif wanted == "saved_model" or wanted == "onnx":
        path, sha256 = _get_export(context, model, wanted)
    else:
        path, sha256 = _get_part(context, model, _OF_THE_ARTIFACT[wanted])
    known = MODEL_FORMATS[wanted]
    return ModelFile(path, known.file_name(model.product_id, model.version), known.media_type, sha256)


def _get_part(context: AppContext, model: TrainedModel, name: str) -> tuple[Path, str]:
    def check(artifact: Artifact) -> tuple[Path, str]:
        artifact.verify(name)
        return artifact.path(name), artifact.manifest.files[name].sha256

    return _with_artifact(context, model, check)


def _get_export(context: AppContext, model: TrainedModel, wanted: MadeFormat) -> tuple[Path, str]:
    path, export = find_export(context, model, wanted)
    if _is(path, export.sha256) or (
        context.storage.remote.download_again(path.parent) and _is(path, export.sha256)
    ):
        return path, export.sha256
    raise ArtifactError(
        f"The {wanted} file of model {model.id} is damaged.",
        hint=f"Delete job {export.job}, which made it, and have it made again.",
    )


def _is(path: Path, sha256: str) -> bool:
    return path.exists() and describe(path).sha256 == sha256


def _get_archive(context: AppContext, model: TrainedModel) -> tuple[Path, str]:
    """The zip, made at the first request and kept beside the model under its digest."""
    folder = context.storage.absolute(model.folder).parent / "downloads"
    for path in folder.glob("*.zip"):
        if _is(path, path.stem):
            return path, path.stem
        logger.warning("%s is damaged and is made again", path)
        path.unlink(missing_ok=True)
    return _with_artifact(context, model, lambda artifact: _make_archive(context, model, artifact, folder))


def _make_archive(
    context: AppContext, model: TrainedModel, artifact: Artifact, folder: Path
) -> tuple[Path, str]:
    artifact.verify()
    # One of its own, not that of the cache: a download must not push a model out that answers predictions.
    predictor = Predictor(artifact, interpreters=1)
    transfer = Transfer(
        model=model.id,
        product=model.product_id,
        version=model.version,
        artifact_digest=artifact.digest,
        probes=PROBES,
        answers=tuple(
            tuple(predictor.predict(image).tolist()) for image in make_probes(artifact.manifest.image_size)
        ),
    )
    with context.storage.scratch_folder("archive") as scratch:
        made = scratch / "artifact.zip"
        write_archive(made, artifact, transfer)
        sync(made)
        sha256 = describe(made).sha256
        make_folder(folder)
        move(made, folder / f"{sha256}.zip")
    with context.db.read() as session:
        if session.get(TrainedModel, model.id) is None:  # Deleted meanwhile: nobody else would look here.
            context.storage.discard(folder.parent)
        require_model(session, model.id)
    return folder / f"{sha256}.zip", sha256


def _with_artifact(context: AppContext, model: TrainedModel, use: Callable[[Artifact], T]) -> T:
    """Where the home folder is a cache, a model that is damaged there is downloaded again."""
    folder = context.storage.absolute(model.folder)
    context.storage.remote.download(folder)
    try:
        return use(open_artifact(folder, verify=False, digest=model.digest))
    except ArtifactError as error:
        if not context.storage.remote.download_again(folder):
            raise
        logger.warning("model %s was damaged here and was downloaded again: %s", model.id, error.detail)
        return use(open_artifact(folder, verify=False, digest=model.digest))
