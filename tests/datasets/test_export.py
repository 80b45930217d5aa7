from __future__ import annotations

import errno
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from app.datasets.export import RecordFormat, export_folders, export_records
from app.datasets.manifest import DatasetManifest, load_manifest
from app.datasets.split import split_dataset
from app.schemas.hyperparameters import SplitSettings


@pytest.fixture
def dataset(importer: Any, write_zip: Any, two_classes: dict[str, bytes]) -> tuple[DatasetManifest, Path]:
    importer(write_zip({f"wrap/{name}": content for name, content in two_classes.items()}))
    return load_manifest(importer.root / "dataset"), importer.images


def nothing(done: int, total: int) -> None:
    assert 0 <= done <= total


def read_tar(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def test_an_exported_dataset_imports_as_the_same_dataset(
    dataset: tuple[DatasetManifest, Path], importer: Any, two_classes: dict[str, bytes], tmp_path: Path
) -> None:
    manifest, images = dataset
    result = export_folders(manifest, None, images, tmp_path / "out.tar", nothing)
    assert read_tar(tmp_path / "out.tar") == two_classes
    assert result.model_dump() == {
        "format": "folders",
        "items": 8,
        "bytes": (tmp_path / "out.tar").stat().st_size,
    }
    assert importer(tmp_path / "out.tar", "dataset/2")["digest"] == manifest.digest


def test_a_split_becomes_folders_and_comes_back_as_the_same_split(
    dataset: tuple[DatasetManifest, Path], importer: Any, tmp_path: Path
) -> None:
    manifest, images = dataset
    split = split_dataset(manifest, SplitSettings(train=2, valid=2, test=2), 0)
    export_folders(manifest, split, images, tmp_path / "out.tar", nothing)
    assert importer(tmp_path / "out.tar", "dataset/2")["counts"] == {"train": 2, "valid": 2, "test": 2}
    again = load_manifest(importer.root / "dataset/2")
    by_content = {item.sha256: split[item.id] for item in manifest.items if item.id in split}
    assert {item.sha256: item.split for item in again.items} == by_content


def test_files_that_want_one_name_are_all_kept(
    importer: Any, write_zip: Any, picture: Any, tmp_path: Path
) -> None:
    files = {"train/cat/1.png": picture(1), "train/dog/1.png": picture(2)}
    files |= {"val/cat/1.png": picture(3), "validation/cat/1.png": picture(4)}
    importer(write_zip(files))
    manifest = load_manifest(importer.root / "dataset")
    export_folders(manifest, None, importer.images, tmp_path / "out.tar", nothing)
    exported = read_tar(tmp_path / "out.tar")
    assert sorted(exported.values()) == sorted(files.values())
    assert all(name.endswith(".png") for name in exported)


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_records_are_exported_by_split_with_their_labels(
    dataset: tuple[DatasetManifest, Path], tmp_path: Path, compression: Any
) -> None:
    manifest, images = dataset
    split = split_dataset(manifest, SplitSettings(train=0.5, valid=0.25, test=0.25), 0)
    records = RecordFormat((6, 9), compression)
    result = export_records(
        manifest, split, images, tmp_path / "out.tar", tmp_path / "scratch", records, nothing
    )
    suffix = ".tfrecord.gz" if compression else ".tfrecord"
    exported = read_tar(tmp_path / "out.tar")
    assert list(exported) == [
        "labels.txt",
        *(f"{name}/records-00000-of-00001{suffix}" for name in ("train", "valid", "test")),
    ]
    assert exported["labels.txt"] == b"cat\ndog\n"
    assert result.items == 8
    assert not (tmp_path / "scratch").exists()


def test_the_same_dataset_gives_the_same_archive(
    dataset: tuple[DatasetManifest, Path], tmp_path: Path
) -> None:
    records = RecordFormat((6, 9), "gzip")
    for name in ("a", "b"):
        export_folders(*(dataset[0], None, dataset[1]), tmp_path / f"{name}.tar", nothing)
        export_records(
            dataset[0],
            None,
            dataset[1],
            tmp_path / f"{name}r.tar",
            tmp_path / f"scratch-{name}",
            records,
            nothing,
        )
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    assert (tmp_path / "ar.tar").read_bytes() == (tmp_path / "br.tar").read_bytes()


def test_a_full_disk_leaves_no_half_archive(
    dataset: tuple[DatasetManifest, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added: list[str] = []

    def full(_: tarfile.TarFile, member: tarfile.TarInfo, *content: object) -> None:
        added.append(f"{member.name} {len(content)}")
        if len(added) == 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tarfile.TarFile, "addfile", full)
    with pytest.raises(OSError, match="No space left"):
        export_folders(dataset[0], None, dataset[1], tmp_path / "out/a.tar", nothing)
    assert list((tmp_path / "out").iterdir()) == []
