"""One trained model on disk: files and the manifest that describes them. The only owner of the format."""

from app.artifacts.archive import ARCHIVE_FILES, TRANSFER, Transfer, write_archive
from app.artifacts.folder import (
    CLASSIFIER,
    KERAS_MODEL,
    LITERT_MODEL,
    REFERENCES,
    Artifact,
    open_artifact,
    weights_sha256,
    write_artifact,
)
from app.artifacts.manifest import (
    MANIFEST,
    Calibration,
    Decision,
    Input,
    Manifest,
    Origin,
    Output,
    ReferenceFeatures,
    Runtime,
    Serving,
    Threshold,
)
from app.artifacts.probes import PROBES, make_probes

__all__ = [
    "ARCHIVE_FILES",
    "CLASSIFIER",
    "KERAS_MODEL",
    "LITERT_MODEL",
    "MANIFEST",
    "PROBES",
    "REFERENCES",
    "TRANSFER",
    "Artifact",
    "Calibration",
    "Decision",
    "Input",
    "Manifest",
    "Origin",
    "Output",
    "ReferenceFeatures",
    "Runtime",
    "Serving",
    "Threshold",
    "Transfer",
    "make_probes",
    "open_artifact",
    "weights_sha256",
    "write_archive",
    "write_artifact",
]
