"""Datasets in the shared storage: manifest and report as they are, the images in a few large packs.

A dataset may have a hundred thousand images of some kilobytes each, and storage is slow by the object. A
pack is a tar of images named by their SHA-256; ``pictures.json`` says in which pack, and where in it, each
one lies, so that a single image can be read without its pack. Packs are named by their own SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tarfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from app.datasets.manifest import Item, image_path, load_manifest
from app.errors import DatasetError, StorageDamagedError
from app.host.files import describe, touch, write_json
from app.storage.object_store import ObjectStore
from app.storage.paths import HomeFolder

logger = logging.getLogger(__name__)

PICTURES = "pictures.json"
FOLDER = "pictures"
FORMAT_VERSION = 1
PACK_BYTES = 64 * 2**20
TRANSFERS = 4
HEADER_BYTES = 512

_DAMAGED_HINT = "Restore the storage from a backup, or import the dataset again."


class Place(NamedTuple):
    """Where an image lies: a pack, and the bytes of it."""

    pack: str
    start: int
    end: int


def upload_packs(home: HomeFolder, store: ObjectStore, dataset_id: str) -> None:
    """Stores the images of an imported dataset, and writes into its folder where each one lies."""
    folder, prefix = home.dataset(dataset_id), _prefix(dataset_id)
    there = store.list_keys(prefix)

    def upload_pack(items: list[Item]) -> dict[str, Any]:
        with home.scratch_folder("pack") as scratch:
            places = _write_pack(scratch / "pack", items, home.images)
            described = describe(scratch / "pack")
            key = f"{prefix}/{described.sha256}.tar"
            if there.get(key) != described.bytes:
                store.put_file(scratch / "pack", key)
            return {**asdict(described), "pictures": places}

    with ThreadPoolExecutor(TRANSFERS) as pool:
        packs = list(pool.map(upload_pack, _divide(load_manifest(folder).items)))
    write_json(folder / PICTURES, {"format_version": FORMAT_VERSION, "packs": packs})


def download_missing(home: HomeFolder, store: ObjectStore, dataset_id: str) -> None:
    """Brings the images that are not here whole of a dataset whose folder is here.

    Raises StorageDamagedError, DatasetError.
    """
    folder = home.dataset(dataset_id)
    missing = {
        item.sha256
        for item in load_manifest(folder).items
        if not _has_size(image_path(home.images, item.sha256), item.bytes)
    }
    wanted: dict[str, dict[str, Place]] = {}
    for sha256 in missing:
        place = _find_place(folder, sha256)
        wanted.setdefault(place.pack, {})[sha256] = place

    def download_pack(pack: str) -> None:
        with home.scratch_folder("pack") as scratch:
            _get_pack(store, f"{_prefix(dataset_id)}/{pack}.tar", pack, scratch / "pack")
            with (scratch / "pack").open("rb") as file:
                for sha256, place in wanted[pack].items():
                    file.seek(place.start)
                    _keep(home, sha256, file.read(place.end - place.start))

    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(pool.map(download_pack, sorted(wanted)))


def download_one(home: HomeFolder, store: ObjectStore, dataset_id: str, sha256: str) -> None:
    """Brings one image out of its pack. Raises StorageDamagedError, DatasetError."""
    place = _find_place(home.dataset(dataset_id), sha256)
    key = f"{_prefix(dataset_id)}/{place.pack}.tar"
    for _ in range(2):
        data = store.read(key, place.start, place.end)
        if data is not None and hashlib.sha256(data).hexdigest() == sha256:
            _keep(home, sha256, data)
            return
    raise StorageDamagedError(f"{key} is missing or damaged in the storage.", hint=_DAMAGED_HINT)


def remove_packs(store: ObjectStore, dataset_id: str) -> None:
    """Deletes the images of a dataset; other datasets have their own packs."""
    store.delete(list(store.list_keys(_prefix(dataset_id))))


def list_packed(store: ObjectStore) -> list[str]:
    """The ids of the datasets that have packs."""
    return store.list_names(FOLDER)


def _has_size(path: Path, size: int) -> bool:
    """False for the empty file that a loss of power may leave: they are too many for an fsync each."""
    return touch(path) and path.stat().st_size == size


def _prefix(dataset_id: str) -> str:
    return f"{FOLDER}/{dataset_id}"


def _divide(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The images, each content once, in groups of about the size of a pack."""
    group: list[Item] = []
    size = 0
    for item in {item.sha256: item for item in items}.values():
        if group and size + item.bytes > PACK_BYTES:
            yield group
            group, size = [], 0
        group.append(item)
        size += item.bytes
    if group:
        yield group


def _write_pack(path: Path, items: list[Item], images: Path) -> dict[str, list[int]]:
    """Writes the tar; where in it each image begins and ends. Equal images give equal bytes."""
    places = {}
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for item in items:
            member = tarfile.TarInfo(item.sha256)
            member.size = item.bytes
            start = tar.offset + HEADER_BYTES
            places[item.sha256] = [start, start + item.bytes]
            with image_path(images, item.sha256).open("rb") as file:
                tar.addfile(member, file)
    return places


def _get_pack(store: ObjectStore, key: str, sha256: str, target: Path) -> None:
    for _ in range(2):
        if store.get_file(key, target) and describe(target).sha256 == sha256:
            return
        logger.warning("storage: %s is missing or not what was stored", key)
    raise StorageDamagedError(f"{key} is missing or damaged in the storage.", hint=_DAMAGED_HINT)


def _find_place(folder: Path, sha256: str) -> Place:
    try:
        place = _read_places(folder).get(sha256)
    except FileNotFoundError:
        place = None
    if place is None:
        raise DatasetError(
            f"The image {sha256} is neither here nor in the shared storage.",
            hint="It was imported before there was one: `loupe storage push` where it was.",
        )
    return place


@lru_cache(maxsize=8)
def _read_places(folder: Path) -> dict[str, Place]:
    packs = json.loads((folder / PICTURES).read_text(encoding="utf-8"))["packs"]
    return {
        sha256: Place(pack["sha256"], start, end)
        for pack in packs
        for sha256, (start, end) in pack["pictures"].items()
    }


def _keep(home: HomeFolder, sha256: str, data: bytes) -> None:
    """Puts an image into the store of this host, whole; harmless when several do so."""
    target = image_path(home.images, sha256)
    with home.scratch_folder("picture") as scratch:
        (scratch / sha256).write_bytes(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        (scratch / sha256).replace(target)
