"""A shared storage that is there: whole things under their paths, the inventory of each written last.

A whole thing lies under its path relative to the home folder: a file as one object, a folder as one object a
file. Beside it lies an inventory with the size and SHA-256 of each. Without its inventory nothing is seen.
"""

from __future__ import annotations

import contextlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.datasets.manifest import image_path
from app.errors import StorageDamagedError, UnavailableError
from app.features.files import NEAR_GROUPS
from app.host import failpoints
from app.host.files import describe
from app.storage import dataset_packs
from app.storage.object_store import ObjectStore
from app.storage.paths import HomeFolder
from app.storage.remote import Remote

logger = logging.getLogger(__name__)

INVENTORY = ".inventory.json"
FORMAT_VERSION = 1
TRANSFERS = 4
_WHOLE_FILE = ""


class SharedRemote(Remote):
    """``home`` is this host's; ``store`` is everybody's."""

    def __init__(self, home: HomeFolder, store: ObjectStore) -> None:
        self.store = store
        self._home = home

    @property
    def failures(self) -> int:
        return self.store.failures

    def answering_seconds(self) -> float:
        return self.store.answering_seconds()

    def check(self) -> None:
        self.store.check()

    def checks(self) -> dict[str, str]:
        try:
            self.check()
        except UnavailableError as error:
            return {"storage": f"{error.detail} {error.hint}"}
        return {"storage": "ok"}

    def upload(self, path: Path, source: Path | None = None) -> None:
        source, key = source or path, self._home.relative(path)
        files = _describe_all(source)
        with contextlib.suppress(StorageDamagedError):
            if self._read_inventory(key) == files:
                return
        with ThreadPoolExecutor(TRANSFERS) as pool:
            tasks = [
                pool.submit(self.store.put_file, _at(source, name), _at_key(key, name)) for name in files
            ]
            for task in tasks:
                task.result()
        failpoints.pass_by("storage.files_put")
        inventory = {"format_version": FORMAT_VERSION, "files": files}
        self.store.write(key + INVENTORY, json.dumps(inventory, indent=1).encode())

    def download(self, path: Path) -> Path:
        if not path.exists():
            with self._home.scratch_folder("download") as aside:
                if self._download(self._home.relative(path), aside / path.name):
                    try:
                        self._home.publish(aside / path.name, path)
                    except OSError:
                        # Another thread or process of this host brought it meanwhile.
                        if not path.exists():
                            raise
        return path

    def download_again(self, path: Path) -> bool:
        self._home.remove(path)
        self.download(path)
        return True

    def has(self, path: Path) -> bool:
        with contextlib.suppress(StorageDamagedError):
            return self._read_inventory(self._home.relative(path)) is not None
        return False

    def may_get(self, _path: Path) -> bool:
        return True

    def remove(self, path: Path) -> None:
        key = self._home.relative(path)
        below = list(self.store.list_keys(key))
        self.store.delete([key + INVENTORY, *(one for one in below if one.endswith(INVENTORY))])
        self.store.delete([key, *(one for one in below if not one.endswith(INVENTORY))])

    def list_whole(self, folder: Path) -> list[Path]:
        keys = self.store.list_keys(self._home.relative(folder))
        return sorted(
            self._home.absolute(key.removesuffix(INVENTORY)) for key in keys if key.endswith(INVENTORY)
        )

    def list_names(self, folder: Path) -> list[str]:
        names = self.store.list_names(self._home.relative(folder))
        return sorted({name.removesuffix(INVENTORY) for name in names})

    def upload_dataset(self, dataset_id: str) -> None:
        dataset_packs.upload_packs(self._home, self.store, dataset_id)
        self.upload(self._home.dataset(dataset_id))

    def remove_dataset(self, dataset_id: str) -> None:
        self.remove(self._home.dataset(dataset_id))
        dataset_packs.remove_packs(self.store, dataset_id)

    def list_datasets(self) -> list[str]:
        return sorted({*self.list_names(self._home.datasets), *dataset_packs.list_packed(self.store)})

    def download_pictures(self, dataset_id: str) -> None:
        folder = self.download(self._home.dataset(dataset_id))
        self.download(folder / NEAR_GROUPS)  # this host may have had the dataset before it was examined
        dataset_packs.download_missing(self._home, self.store, dataset_id)

    def download_picture(self, dataset_id: str, sha256: str) -> None:
        if not image_path(self._home.images, sha256).exists():
            self.download(self._home.dataset(dataset_id))
            dataset_packs.download_one(self._home, self.store, dataset_id, sha256)

    def upload_growing(self, path: Path) -> None:
        self.store.put_file(path, self._home.relative(path))

    def download_grown(self, folder: Path) -> None:
        for key, size in self.store.list_keys(self._home.relative(folder)).items():
            path = self._home.absolute(key)
            if not path.exists() or path.stat().st_size < size:
                with self._home.scratch_folder("grown") as scratch:
                    if self.store.get_file(key, scratch / path.name):
                        path.parent.mkdir(parents=True, exist_ok=True)
                        (scratch / path.name).replace(path)

    def _download(self, key: str, target: Path) -> bool:
        """Brings the whole thing ``key`` to the free path ``target``, checked; False if there is none.

        Raises StorageDamagedError when it is not what its inventory says, also when it is fetched again.
        """
        for is_last in (False, True):
            files = self._read_inventory(key)
            if files is None:
                return False
            damage = self._download_files(key, target, files)
            if damage is None:
                return True
            logger.warning("storage: %s: %s%s", key, damage, "" if is_last else "; it is fetched again")
        raise StorageDamagedError(
            f"{key} is damaged in the storage: {damage}.", hint="Restore it from a backup of the storage."
        )

    def _read_inventory(self, key: str) -> dict[str, Any] | None:
        data = self.store.read(key + INVENTORY)
        if data is None:
            return None
        try:
            files: dict[str, Any] = json.loads(data)["files"]
        except (ValueError, KeyError, TypeError) as error:
            raise StorageDamagedError(
                f"The inventory of {key} is damaged.", hint="Restore it from a backup of the storage."
            ) from error
        return files

    def _download_files(self, key: str, target: Path, files: dict[str, Any]) -> str | None:
        """What is wrong with what came, or None."""
        if _WHOLE_FILE not in files:
            target.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(TRANSFERS) as pool:
            names = list(files)
            came = list(
                pool.map(lambda name: self.store.get_file(_at_key(key, name), _at(target, name)), names)
            )
        for name, is_there in zip(names, came, strict=True):
            if not is_there:
                return f"{name or 'it'} is missing"
            if asdict(describe(_at(target, name))) != files[name]:
                return f"{name or 'it'} is not what was stored"
        return None


def _describe_all(source: Path) -> dict[str, Any]:
    if source.is_file():
        return {_WHOLE_FILE: asdict(describe(source))}
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    if not paths:
        raise FileNotFoundError(source)
    return {path.relative_to(source).as_posix(): asdict(describe(path)) for path in paths}


def _at(root: Path, name: str) -> Path:
    return root / name if name else root


def _at_key(key: str, name: str) -> str:
    return f"{key}/{name}" if name else key
