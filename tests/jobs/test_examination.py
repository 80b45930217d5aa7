"""Examinations on hosts that share a storage."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np

from app.context import AppContext
from app.datasets.examination.vectors import images_of, load_features
from app.datasets.manifest import load_manifest
from app.features.extractor import DIMENSIONS, read_note
from app.features.files import NETWORK
from app.features.vectors import write_vectors
from app.services.examinations import create_examination
from app.storage.extractor import upload_examination, upload_extractor
from tests.clients import local_client
from tests.extractors import give_extractor
from tests.pictures import make_files
from tests.running import import_pictures, run_queued


def test_what_another_host_has_computed_is_not_computed_again(
    shared_context: AppContext, tmp_path: Path
) -> None:
    storage = shared_context.storage
    give_extractor(storage.root)
    upload_extractor(storage)
    database = shared_context.settings.resolved_database_url
    changes = {"home": tmp_path / "other", "database_url": database}
    other = AppContext.open(shared_context.settings.model_copy(update=changes))
    with local_client(shared_context.settings) as client, closing(other):
        dataset = import_pictures(client, shared_context, "p", make_files(2))
        other.storage.remote.download_pictures(dataset)  # before there are vectors
        manifest, note = load_manifest(storage.dataset(dataset)), read_note(storage.extractor)
        assert note is not None
        known = np.full((len(manifest.items), DIMENSIONS), 0.5, np.float16)  # as no image has them
        images = images_of(manifest)
        write_vectors(storage.dataset(dataset), images, known, extractor=note.sha256, network=NETWORK)
        upload_examination(storage, dataset)

        create_examination(shared_context, dataset)
        run_queued(other)
        assert client.get(f"/datasets/{dataset}").json()["examination"]["extractor"] == note.sha256
        assert np.array_equal(load_features(other.storage.dataset(dataset), manifest), known)


def test_a_host_that_has_nothing_yet_finds_similar_images(shared_context: AppContext, tmp_path: Path) -> None:
    give_extractor(shared_context.storage.root)
    files = make_files(2)
    with local_client(shared_context.settings) as client:
        dataset = import_pictures(client, shared_context, "p", files)
        create_examination(shared_context, dataset)
        run_queued(shared_context)
    database = shared_context.settings.resolved_database_url
    changes = {"home": tmp_path / "other", "database_url": database}
    with local_client(shared_context.settings.model_copy(update=changes)) as client:
        for name, data in files.items():
            found = client.post(f"/datasets/{dataset}/similar", files={"file": ("a", data)})
            assert found.status_code == 200, found.text
            assert found.json()["data"][0]["name"] == name
        item = found.json()["data"][0]["id"]
        assert client.get(f"/datasets/{dataset}/items?similar_to={item}").status_code == 200
        assert client.get(f"/datasets/{dataset}/items/{item}/image?size=16").status_code == 200
