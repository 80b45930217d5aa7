"""One trained model on disk: files and the manifest that describes them. The only owner of the format."""

from app.artifacts.archive import ARCHIVE_FILES, TRANSFER, Transfer, write_archive
from app.artifacts.folder import (
    KERAS_MODEL,
    LITERT_MODEL,
    Artifact,
    open_artifact,
    weights_sha256,
    write_artifact,
)
from app.artifacts.manifest import MANIFEST, Input, Manifest, Origin, Output, Runtime, Serving
from app.artifacts.probes import PROBES, make_probes

__all__ = [
    "ARCHIVE_FILES",
    "KERAS_MODEL",
    "LITERT_MODEL",
    "MANIFEST",
    "PROBES",
    "TRANSFER",
    "Artifact",
    "Input",
    "Manifest",
    "Origin",
    "Output",
    "Runtime",
    "Serving",
    "Transfer",
    "make_probes",
    "open_artifact",
    "weights_sha256",
    "write_archive",
    "write_artifact",
]
