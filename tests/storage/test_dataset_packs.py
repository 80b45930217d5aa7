"""Images in packs: all of them come to another home, or one alone, and damage is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.config import Settings
from app.datasets.importer import import_dataset
from app.datasets.manifest import image_path, load_manifest, read_image
from app.datasets.sources import Limits
from app.errors import StorageDamagedError
from app.storage import dataset_packs
from app.storage.home import Storage, open_storage
from tests.pictures import make_files, make_zip
from tests.stores import note_keys, store_of

DATASET = "dst_01"


@pytest.fixture
def here(shared_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    """A home with a dataset that is shared in several packs."""
    monkeypatch.setattr(dataset_packs, "PACK_BYTES", 2000)
    storage = open_storage(shared_settings.model_copy(update={"home": tmp_path / "here"}))
    storage.create()
    (tmp_path / "pictures.zip").write_bytes(make_zip(make_files(4)))
    import_dataset(
        tmp_path / "pictures.zip",
        storage.images,
        storage.dataset(DATASET),
        storage.scratch / "unpacked",
        Limits(),
        lambda *_: None,
    )
    storage.remote.upload_dataset(DATASET)
    return storage


@pytest.fixture
def there(shared_settings: Settings, tmp_path: Path) -> Storage:
    storage = open_storage(shared_settings.model_copy(update={"home": tmp_path / "there"}))
    storage.create()
    return storage


def test_all_pictures_come_to_another_home(here: Storage, there: Storage) -> None:
    there.remote.download_pictures(DATASET)
    manifest = load_manifest(there.dataset(DATASET))
    assert manifest == load_manifest(here.dataset(DATASET))
    for item in manifest.items:
        assert read_image(there.images, item) == read_image(here.images, item)
    assert len(store_of(here).list_keys(f"pictures/{DATASET}")) > 2
    assert (there.dataset(DATASET) / "report.json").exists()
    assert not list(there.scratch.iterdir())


def test_one_picture_is_read_out_of_its_pack(here: Storage, there: Storage) -> None:
    first, *others = load_manifest(here.dataset(DATASET)).items
    there.remote.download_picture(DATASET, first.sha256)
    assert (
        image_path(there.images, first.sha256).read_bytes()
        == image_path(here.images, first.sha256).read_bytes()
    )
    assert not any(image_path(there.images, item.sha256).exists() for item in others)


def test_only_what_is_missing_is_fetched(here: Storage, there: Storage) -> None:
    there.remote.download_pictures(DATASET)
    store_of(here).delete(list(store_of(here).list_keys(f"pictures/{DATASET}")))
    there.remote.download_pictures(DATASET)


def test_what_a_loss_of_power_cut_off_is_fetched_again(here: Storage, there: Storage) -> None:
    there.remote.download_pictures(DATASET)
    item = load_manifest(there.dataset(DATASET)).items[0]
    image_path(there.images, item.sha256).write_bytes(b"")
    there.remote.download_pictures(DATASET)
    assert read_image(there.images, item) == read_image(here.images, item)


def test_a_damaged_pack_is_told(here: Storage, there: Storage) -> None:
    for key, size in store_of(here).list_keys(f"pictures/{DATASET}").items():
        store_of(here).write(key, b"x" * size)
    with pytest.raises(StorageDamagedError, match=r"\.tar is missing or damaged"):
        there.remote.download_pictures(DATASET)
    sha256 = load_manifest(here.dataset(DATASET)).items[0].sha256
    with pytest.raises(StorageDamagedError):
        there.remote.download_picture(DATASET, sha256)
    assert not list(there.images.rglob("*/*"))


def test_sharing_again_sends_no_pack_again(here: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    sent = note_keys(monkeypatch, store_of(here), "put_file")
    here.remote.upload_dataset(DATASET)
    assert sent == []
