"""Exports a dataset to the outside: a tar of its original files in folders, or of TFRecord shards."""

from __future__ import annotations

import io
import shutil
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from app.datasets.manifest import SPLITS, DatasetManifest, Item, Split, read_image
from app.datasets.spec import ExportResult
from app.datasets.tfrecord import write_records
from app.host.files import make_folder, write_aside

Progress = Callable[[int, int], None]
Assignment = dict[str, Split]  # item id → split


@dataclass(frozen=True)
class RecordFormat:
    """How TFRecord shards are to be written. ``size``: (height, width) in pixels."""

    size: tuple[int, int]
    compression: Literal["gzip"] | None


def export_folders(
    manifest: DatasetManifest, split: Assignment | None, image_root: Path, out: Path, progress: Progress
) -> ExportResult:
    """Writes the original files to ``out``, a tar: as split/class/name, or class/name where nothing is split.

    Items that ``split`` leaves out are left out here. Importing the tar gives the same images again.
    """
    groups = _by_split(manifest, split)
    total, taken = sum(len(items) for items in groups.values()), set[str]()
    with _create_tar(out) as tar:
        for folder, items in groups.items():
            for item in items:
                name = _unique("/".join(filter(None, (folder, _class_path(item)))), item, taken)
                _add(tar, name, read_image(image_root, item))
                progress(len(taken), total)
    return ExportResult(format="folders", items=total, bytes=out.stat().st_size)


def export_records(
    manifest: DatasetManifest,
    split: Assignment | None,
    image_root: Path,
    out: Path,
    scratch: Path,
    records: RecordFormat,
    progress: Progress,
) -> ExportResult:
    """Writes TFRecord shards to ``out``, a tar: a folder a split, and ``labels.txt``, a class a line.

    ``scratch`` is a folder for our own use.
    """
    groups = _by_split(manifest, split)
    total, done = sum(len(items) for items in groups.values()), 0
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with _create_tar(out) as tar:
            _add(tar, "labels.txt", "".join(f"{name}\n" for name in manifest.classes).encode())
            for folder, items in groups.items():
                start = done

                def report(count: int, _: int, start: int = start) -> None:
                    progress(start + count, total)

                part = replace(manifest, items=tuple(items))
                write_records(
                    part, image_root, records.size, scratch, compression=records.compression, progress=report
                )
                for path in sorted(scratch.glob("*.tfrecord*")):
                    tar.add(path, f"{folder or 'all'}/{path.name}", filter=_without_origin)
                shutil.rmtree(scratch)
                done += len(items)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return ExportResult(format="tfrecord", items=total, bytes=out.stat().st_size)


def _by_split(manifest: DatasetManifest, split: Assignment | None) -> dict[str, list[Item]]:
    """Items by folder: train, valid, test, or one group under an empty name where nothing is split."""
    if split is None and not manifest.is_split:
        return {"": list(manifest.items)}
    groups: dict[str, list[Item]] = {name: [] for name in SPLITS}
    for item in manifest.items:
        name = item.split if split is None else split.get(item.id)
        if name is not None:
            groups[name].append(item)
    return {name: items for name, items in groups.items() if items}


def _class_path(item: Item) -> str:
    return item.name.split("/", 1)[1] if item.split else item.name


def _unique(name: str, item: Item, taken: set[str]) -> str:
    # Folders named "val" and "validation" both become "valid", so that two files may want one name.
    stem, dot, suffix = name.rpartition(".")
    unique = (
        name if name.casefold() not in taken else f"{stem or name}-{item.id}{dot}{suffix if stem else ''}"
    )
    taken.add(unique.casefold())
    return unique


@contextmanager
def _create_tar(out: Path) -> Iterator[tarfile.TarFile]:
    """A tar that appears under its name when it is complete."""
    make_folder(out.parent)
    with write_aside(out) as aside, tarfile.open(aside, mode="w", format=tarfile.PAX_FORMAT) as tar:
        yield tar


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))


def _without_origin(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Drops owner and time, so that equal datasets give equal archives."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member
