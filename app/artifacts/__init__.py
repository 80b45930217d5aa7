"""One trained model on disk: files and the manifest that describes them. The only owner of the format."""

from app.artifacts.folder import (
    KERAS_MODEL,
    LITERT_MODEL,
    Artifact,
    open_artifact,
    weights_sha256,
    write_artifact,
)
from app.artifacts.manifest import MANIFEST, Input, Manifest, Output, Runtime, Serving

__all__ = [
    "KERAS_MODEL",
    "LITERT_MODEL",
    "MANIFEST",
    "Artifact",
    "Input",
    "Manifest",
    "Output",
    "Runtime",
    "Serving",
    "open_artifact",
    "weights_sha256",
    "write_artifact",
]
