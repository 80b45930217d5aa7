"""Whole things in the shared storage: a finished file or folder, its inventory written last.

A bundle lies under its path relative to the home folder: a file as one object, a folder as one object a
file. Beside it lies an inventory with the size and SHA-256 of each. Without the inventory there is no bundle,
so what can be seen is whole. A bundle never changes.
"""

from __future__ import annotations

import contextlib
import json
import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.errors import StorageDamagedError
from app.host import failpoints
from app.host.files import describe
from app.storage.object_store import ObjectStore

logger = logging.getLogger(__name__)

INVENTORY = ".inventory.json"
FORMAT_VERSION = 1
TRANSFERS = 4
_WHOLE_FILE = ""


class Bundles:
    """Puts and fetches bundles. Both may be repeated after an outage, and done by several hosts at once."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store

    def put(self, source: Path, key: str) -> None:
        """Uploads a finished file or folder, unless the same is there already."""
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

    def fetch(self, key: str, target: Path) -> bool:
        """Downloads a bundle to the free path ``target``, checked; False if there is none.

        Raises StorageDamagedError when it is not what its inventory says, also when it is fetched again.
        """
        for is_last in (False, True):
            files = self._read_inventory(key)
            if files is None:
                return False
            damage = self._download(key, target, files)
            if damage is None:
                return True
            logger.warning("storage: %s: %s%s", key, damage, "" if is_last else "; it is fetched again")
        raise StorageDamagedError(
            f"{key} is damaged in the storage: {damage}.", hint="Restore it from a backup of the storage."
        )

    def list_keys(self, prefix: str) -> list[str]:
        """The keys of the whole bundles below the folder ``prefix``, in order."""
        keys = self.store.list_keys(prefix)
        return sorted(key.removesuffix(INVENTORY) for key in keys if key.endswith(INVENTORY))

    def remove(self, key: str) -> None:
        """Deletes the bundle ``key`` and everything below it: the inventories first."""
        below = list(self.store.list_keys(key))
        self.store.delete([key + INVENTORY, *(one for one in below if one.endswith(INVENTORY))])
        self.store.delete([key, *(one for one in below if not one.endswith(INVENTORY))])

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

    def _download(self, key: str, target: Path, files: dict[str, Any]) -> str | None:
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
