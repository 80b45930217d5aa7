"""A model's folder on a host that is about to read it."""

from __future__ import annotations

import logging
from pathlib import Path

from app.artifacts import open_artifact
from app.errors import ArtifactError
from app.storage.home import Storage

logger = logging.getLogger(__name__)


def download_model(storage: Storage, folder: Path, digest: str) -> None:
    """Brings a model's artifact here. One that is not the registered one is fetched again.

    One that is no better then stays: whoever reads it refuses it by its digest.
    """
    storage.remote.download(folder)
    try:
        open_artifact(folder, digest=digest)
    except ArtifactError as error:
        if storage.remote.download_again(folder):
            logger.warning("%s was damaged here and was downloaded again: %s", folder, error.detail)
