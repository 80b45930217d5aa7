"""A model that is about to be read is the registered one, or is fetched again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from app.artifacts import Artifact, open_artifact
from app.config import Settings
from app.errors import ArtifactError
from app.storage.home import open_storage
from app.storage.model_folders import download_model


def test_an_exchanged_model_is_fetched_again_where_hosts_share(
    shared_settings: Settings, make_artifact: Callable[..., Artifact]
) -> None:
    storage = open_storage(shared_settings)
    storage.create()
    folder = storage.models / "mdl_1" / "0001"
    digest = make_artifact(folder).digest
    storage.remote.upload(folder)
    assert make_artifact(folder, seed=1).digest != digest
    download_model(storage, folder, digest)
    assert open_artifact(folder, digest=digest)


def test_where_nothing_is_shared_the_reader_refuses_it(
    settings: Settings, make_artifact: Callable[..., Artifact]
) -> None:
    storage = open_storage(settings)
    folder: Path = storage.models / "mdl_1" / "0001"
    digest = make_artifact(folder).digest
    make_artifact(folder, seed=1)
    download_model(storage, folder, digest)
    with pytest.raises(ArtifactError, match="has changed since the model was registered"):
        open_artifact(folder, digest=digest)
