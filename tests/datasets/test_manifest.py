from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.datasets.manifest import create_manifest, image_path, load_manifest, read_image, write_manifest
from app.errors import DatasetError


def test_a_manifest_is_read_back_as_it_was_written(tmp_path: Path, make_manifest: Any) -> None:
    manifest = make_manifest([("dog", "aa", "train"), ("cat", "bb", "test"), ("schön", "cc", None)])
    write_manifest(tmp_path, manifest)
    assert load_manifest(tmp_path) == manifest
    assert manifest.classes == ("cat", "dog", "schön")
    assert manifest.class_counts == {"cat": 1, "dog": 1, "schön": 1}


@pytest.mark.parametrize("change", [{"label": "bird"}, {"split": "test"}, {"name": "x"}, {"sha256": "bb"}])
def test_the_digest_covers_label_split_name_and_content(make_manifest: Any, change: dict[str, Any]) -> None:
    manifest = make_manifest([("dog", "aa", "train"), ("cat", "cc", "train")])
    changed = [manifest.items[0], replace(manifest.items[1], **change)]
    assert create_manifest(changed).digest != manifest.digest
    assert create_manifest(reversed(manifest.items)).digest == manifest.digest


def test_the_groups_of_items_are_read_back_and_part_of_the_digest(tmp_path: Path, make_manifest: Any) -> None:
    manifest = make_manifest([("dog", "aa", None), ("cat", "cc", None)])
    grouped = create_manifest([replace(manifest.items[0], group="part 7"), manifest.items[1]])
    write_manifest(tmp_path, grouped)
    assert load_manifest(tmp_path) == grouped
    assert grouped.digest != manifest.digest


def test_a_dataset_without_groups_keeps_its_digest_and_its_file(tmp_path: Path, make_manifest: Any) -> None:
    manifest = make_manifest([("dog", "aa", None), ("cat", "cc", None)])
    assert manifest.digest == "bd16ad2722499e9e11e1a00b6f4c5886680f58bbe47333c32f040f48825b04d8"
    write_manifest(tmp_path, manifest)
    assert all("group" not in item for item in json.loads((tmp_path / "manifest.json").read_text())["items"])


@pytest.mark.parametrize("damage", ["cut", "label", "version", "missing"])
def test_a_damaged_manifest_is_an_error(tmp_path: Path, make_manifest: Any, damage: str) -> None:
    write_manifest(tmp_path, make_manifest([("dog", "aa", None), ("cat", "bb", None)]))
    path = tmp_path / "manifest.json"
    content = json.loads(path.read_text())
    if damage == "label":
        content["items"][0]["label"] = "dog"
    if damage == "version":
        content["format_version"] = 99
    path.write_text(json.dumps(content)[: -10 if damage == "cut" else None])
    if damage == "missing":
        path.unlink()
    with pytest.raises(DatasetError) as caught:
        load_manifest(tmp_path)
    assert caught.value.hint


def test_a_stored_picture_that_is_missing_or_damaged_is_never_returned(
    importer: Any, write_zip: Any, two_classes: dict[str, bytes]
) -> None:
    importer(write_zip(two_classes))
    item = load_manifest(importer.root / "dataset").items[0]
    assert read_image(importer.images, item) == two_classes[item.name]
    path = image_path(importer.images, item.sha256)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(DatasetError, match="damaged"):
        read_image(importer.images, item)
    with pytest.raises(DatasetError, match="missing"):
        read_image(importer.images, replace(item, sha256="0" * 64))
